import { hueOf, initialsOf } from "./names.ts"

/** Stands for a person: initials, in a color that belongs to the account and not to the name. */
export const Face = ({ id, name }: { readonly id: string; readonly name: string }) => (
  <span className="face" style={{ "--hue": hueOf(id) } as object} aria-hidden="true">
    {initialsOf(name)}
  </span>
)
