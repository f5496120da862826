/**
 * Which addresses the server asks for a page that a user names. Without such a check, a user could have the server ask
 * services that only the server reaches (SSRF).
 *
 * It looks at the address alone. A public name can still point to a private address: where that matters, let the
 * requests out through a proxy that checks what it connects to. On Cloudflare a Worker has no private network to reach.
 */

/** Whether a URL is one of the public internet, or its host is allowed. */
export const isAllowed = (url: URL, allowedHosts: ReadonlyArray<string>): boolean =>
  (url.protocol === "http:" || url.protocol === "https:") &&
  url.username === "" &&
  url.password === "" &&
  (allowedHosts.includes(url.host) || (url.port === "" && isPublic(url.hostname)))

/** A host as `URL` writes it: `0x7f.1` is `127.0.0.1` there. */
const isPublic = (hostname: string): boolean => {
  const host = hostname.replace(/\.$/, "")
  if (host.startsWith("[")) return publicV6.test(host)
  const v4 = /^(\d+)\.(\d+)\.\d+\.\d+$/.exec(host)
  return v4 === null ? isPublicName(host) : isPublicV4(Number(v4[1]), Number(v4[2]))
}

/** Not those of a machine or of a local network, which have no dot or one of these endings. */
const isPublicName = (name: string): boolean =>
  name.includes(".") && !/\.(localhost|local|internal|intranet|lan|home\.arpa)$/.test(name)

const isPublicV4 = (a: number, b: number): boolean =>
  !(
    a === 0 ||
    a === 10 ||
    a === 127 ||
    (a === 100 && b >= 64 && b < 128) ||
    (a === 169 && b === 254) ||
    (a === 172 && b >= 16 && b < 32) ||
    (a === 192 && (b === 0 || b === 168)) ||
    (a === 198 && (b === 18 || b === 19)) ||
    a >= 224
  )

/** 2000::/3 without 2001::/32 and 2002::/16, which contain an IPv4 address. */
const publicV6 = /^\[(?!2001:0?:|2002:)[23][0-9a-f]{3}:/
