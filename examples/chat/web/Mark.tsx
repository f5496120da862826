import dormouse from "/dormouse.svg"

/** The logo. */
export const Mark = () => <img className="mark" src={dormouse} alt="" width="32" height="32" />
