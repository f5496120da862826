/** Code that runs in a page, and measures colours as WCAG does. */

/** The relative luminance of a color over another one, the color behind an element, and the contrast of two luminances. */
const colours = `
  const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true })
  const luminance = (color, below) => {
    context.fillStyle = below
    context.fillRect(0, 0, 1, 1)
    context.fillStyle = color
    context.fillRect(0, 0, 1, 1)
    const [r, g, b] = [...context.getImageData(0, 0, 1, 1).data].map((byte) => {
      const part = byte / 255
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4
    })
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const backgroundOf = (element) => {
    for (let at = element; at !== null; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor
      if (!/^rgba\\(.*, 0\\)$/.test(color)) return color
    }
    return "white"
  }
  const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)
`

/** The luminance of an element's background, or the contrast of its text with it. */
export const contrastOf = (selector: string, what: "background" | "ratio"): string => `(() => {
  ${colours}
  const element = document.querySelector(${JSON.stringify(selector)})
  const background = backgroundOf(element)
  const below = luminance(background, "white")
  return ${what === "background" ? "below" : "ratio(below, luminance(getComputedStyle(element).color, background))"}
})()`

/** A field, and how it is told from its surroundings. */
export interface Field {
  readonly name: string
  /** The contrast of its border with what is inside and outside, the smaller one. */
  readonly border: number
  /** The contrast of the ring that it has with the focus. 0 if it has none. */
  readonly ring: number
}

/** The fields that can be seen, in the dialog that is open or else on the page. Each gets the focus. */
export const fields = `(() => {
  ${colours}
  const place = document.querySelector("dialog[open]") ?? document
  const found = [...place.querySelectorAll("input, select, textarea")].filter(
    (element) => element.checkVisibility() && !element.matches("[type=radio], [type=checkbox]")
  )
  return found.map((element) => {
    const box = element.closest(".box") ?? element
    const outside = luminance(backgroundOf(box.parentElement), "white")
    const inside = luminance(backgroundOf(box), "white")
    const { borderTopColor, borderTopStyle, borderTopWidth } = getComputedStyle(box)
    const border = borderTopStyle === "none" || parseFloat(borderTopWidth) < 1 ? undefined : luminance(borderTopColor, "white")
    element.focus({ focusVisible: true })
    const { outlineColor, outlineStyle, outlineWidth } = getComputedStyle(box)
    const ring = outlineStyle === "none" || parseFloat(outlineWidth) < 2 ? undefined : luminance(outlineColor, "white")
    return {
      name: element.getAttribute("aria-label") ?? element.labels?.[0]?.textContent ?? "",
      border: border === undefined ? 0 : Math.min(ratio(border, inside), ratio(border, outside)),
      ring: ring === undefined ? 0 : ratio(ring, outside)
    }
  })
})()`

/** What is pressed and is smaller than 44 pixels, in the dialog that is open or else on the page. */
export const smallTargets = `(() => {
  const place = document.querySelector("dialog[open]") ?? document
  const found = [...place.querySelectorAll("button, a[href], input, select, textarea, summary, [role=button]")]
  return found
    .filter((element) => element.checkVisibility() && element.closest(".hidden") === null)
    .map((element) => {
      const { height, width } = element.getBoundingClientRect()
      const name = element.getAttribute("aria-label") ?? element.textContent ?? ""
      return { name: element.tagName + " " + (name || element.id), width, height }
    })
    .filter(({ height, width }) => height < 43.95 || width < 43.95)
    .map(({ height, name, width }) => name + ": " + width.toFixed(1) + " × " + height.toFixed(1))
})()`

/** The times that take more than one line, or more than the screen. */
export const brokenTimes = `(() => {
  const found = [...document.querySelectorAll("time, .day span")].filter((element) => element.closest(".hidden") === null)
  if (found.length === 0) return ["there is none"]
  return found.flatMap((element) => {
    const range = document.createRange()
    range.selectNodeContents(element)
    const rects = [...range.getClientRects()].filter(({ width }) => width > 0)
    const lines = new Set(rects.map(({ top }) => Math.round(top))).size
    const isCut = rects.some(({ left, right }) => left < 0 || right > innerWidth)
    return lines === 1 && !isCut ? [] : [element.textContent + ": " + lines + " lines" + (isCut ? ", cut" : "")]
  })
})()`
