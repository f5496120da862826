/**
 * Declarations as text: what the source says of an export, without the bodies of functions.
 */
import ts from "typescript"

const unstarred = (comment) =>
  comment
    .replace(/^\/\*\*/, "")
    .replace(/\*\/$/, "")
    .split("\n")
    .map((line) => line.replace(/^\s*\* ?/, "").trimEnd())
    .join("\n")
    .trim()

const commentAt = (text, position) => {
  const ranges = ts.getLeadingCommentRanges(text, position) ?? []
  const last = ranges.map(({ end, pos }) => text.slice(pos, end)).findLast((comment) => comment.startsWith("/**"))
  return last ?? ""
}

/** What the first comment of a file says: what the file is for. */
export const fileComment = (file) => {
  const found = /^(?:#!.*\n|\/\/\/.*\n|\s)*(\/\*\*[\s\S]*?\*\/)/.exec(file.text)
  return found === null ? "" : unstarred(found[1])
}

/** The statement of a declaration, before which its comment stands. */
const statementOf = (node) => (ts.isVariableDeclaration(node) ? node.parent.parent : node)

/** What the comment before a declaration says. */
export const commentBefore = ({ node }) => unstarred(commentAt(node.getSourceFile().text, statementOf(node).pos))

const textBetween = (node, from, to) => node.getSourceFile().text.slice(from, to).trim()

// Without this flag, the path of a file is part of a type that the file of the declaration does not import.
const named = ts.TypeFormatFlags.UseAliasDefinedOutsideCurrentScope | ts.TypeFormatFlags.WriteArrowStyleSignature
const longest = 400

/** A type that the source leaves to the compiler. Of a long one, the properties; what is long in them is cut, as the compiler does. */
const typeText = (checker, type, node) => {
  const text = checker.typeToString(type, node, named | ts.TypeFormatFlags.NoTruncation)
  if (text.length <= longest) return text
  const properties = checker.getPropertiesOfType(type)
  if (!text.startsWith("{") || properties.length === 0) return checker.typeToString(type, node, named)
  const lines = properties.map((property) => {
    const own = checker.getTypeOfSymbolAtLocation(property, node)
    const whole = checker.typeToString(own, node, named | ts.TypeFormatFlags.NoTruncation)
    return `  ${property.name}: ${whole.length <= longest ? whole : checker.typeToString(own, node, named)}`
  })
  return `{\n${lines.join("\n")}\n}`
}

/** The part of a function that its callers see, from its type parameters to its result. */
const signatureText = (checker, node) => {
  const file = node.getSourceFile()
  const open = node
    .getChildren(file)
    .find(({ kind }) => kind === ts.SyntaxKind.LessThanToken || kind === ts.SyntaxKind.OpenParenToken)
  const close = node.getChildren(file).find(({ kind }) => kind === ts.SyntaxKind.CloseParenToken)
  const from = open?.getStart(file) ?? node.parameters[0].getStart(file)
  const to = node.type?.end ?? close?.end ?? node.parameters.at(-1).end
  const written = textBetween(node, from, to)
  const text = open === undefined ? `(${written})` : written
  if (node.type !== undefined || ts.isConstructorDeclaration(node)) return text
  const result = checker.getSignatureFromDeclaration(node).getReturnType()
  return `${text}: ${typeText(checker, result, node)}`
}

const isFunction = (node) => node !== undefined && (ts.isArrowFunction(node) || ts.isFunctionExpression(node))

/** Whether an expression contains the body of a function, which is no part of what it declares. */
const hasBody = (node) =>
  isFunction(node) ? true : (ts.forEachChild(node, (child) => hasBody(child) || undefined) ?? false)

const bare = (node) =>
  ts.isParenthesizedExpression(node) || ts.isSatisfiesExpression(node) ? bare(node.expression) : node

/** Whether an expression is a value that can be read as it is written, such as the defaults of options. */
const isData = (node) => {
  if (ts.isObjectLiteralExpression(node)) {
    return node.properties.every((property) => ts.isPropertyAssignment(property) && isData(property.initializer))
  }
  if (ts.isArrayLiteralExpression(node)) return node.elements.every(isData)
  if (ts.isBinaryExpression(node)) return isData(node.left) && isData(node.right)
  if (ts.isPrefixUnaryExpression(node)) return isData(node.operand)
  const { FalseKeyword, NullKeyword, TrueKeyword } = ts.SyntaxKind
  return ts.isLiteralExpression(node) || [FalseKeyword, NullKeyword, TrueKeyword].includes(node.kind)
}

const variableText = (checker, node) => {
  const name = node.name.getText()
  const value = node.initializer && bare(node.initializer)
  if (node.type !== undefined) {
    return `const ${name}: ${node.type.getText()}${value !== undefined && isData(value) ? ` = ${value.getText()}` : ""}`
  }
  if (isFunction(value)) return `function ${name}${signatureText(checker, value)}`
  if (value !== undefined && !hasBody(value)) return `const ${name} = ${value.getText()}`
  return `const ${name}: ${typeText(checker, checker.getTypeAtLocation(node), node)}`
}

const hidden = ts.ModifierFlags.Private | ts.ModifierFlags.Protected

const isHidden = (node) =>
  (ts.getCombinedModifierFlags(node) & hidden) !== 0 || (node.name !== undefined && ts.isPrivateIdentifier(node.name))

const memberText = (checker, node) => {
  if (isHidden(node)) return undefined
  if (ts.isClassStaticBlockDeclaration(node) || ts.isSemicolonClassElement(node)) return undefined
  const isOverloaded = (other) =>
    other !== node && other.name?.getText() === node.name?.getText() && other.body === undefined
  if (node.body !== undefined && ts.isMethodDeclaration(node) && node.parent.members.some(isOverloaded))
    return undefined
  const comment = commentAt(node.getSourceFile().text, node.pos)
  const before = comment === "" ? "" : `${comment}\n  `
  const modifiers = (node.modifiers ?? [])
    .map((modifier) => modifier.getText())
    .filter((modifier) => modifier === "static" || modifier === "readonly" || modifier === "abstract")
    .map((modifier) => `${modifier} `)
    .join("")
  const name = node.name?.getText() ?? "constructor"
  const optional = node.questionToken === undefined ? "" : "?"
  if (ts.isPropertyDeclaration(node)) {
    const value = node.initializer && bare(node.initializer)
    if (node.type === undefined && isFunction(value))
      return `${before}${modifiers}${name}${signatureText(checker, value)}`
    const type = node.type?.getText() ?? typeText(checker, checker.getTypeAtLocation(node), node)
    return `${before}${modifiers}${name}${optional}: ${type}`
  }
  const accessor = ts.isGetAccessor(node) ? "get " : ts.isSetAccessor(node) ? "set " : ""
  if (ts.isIndexSignatureDeclaration(node)) return `${before}${node.getText()}`
  return `${before}${modifiers}${accessor}${name}${optional}${signatureText(checker, node)}`
}

const classText = (checker, node) => {
  const file = node.getSourceFile()
  const isAbstract = ts.getCombinedModifierFlags(node) & ts.ModifierFlags.Abstract
  const parameters = node.typeParameters
  const generics = parameters === undefined ? "" : `<${textBetween(node, parameters.pos, parameters.end)}>`
  const heritage = (node.heritageClauses ?? []).map((clause) => ` ${clause.getText(file)}`).join("")
  const members = node.members.flatMap((member) => memberText(checker, member) ?? [])
  const body = members.length === 0 ? "" : ` {\n${members.map((member) => `  ${member}`).join("\n")}\n}`
  return `${isAbstract ? "abstract " : ""}class ${node.name.text}${generics}${heritage}${body}`
}

const declarationText = (checker, node) => {
  if (ts.isVariableDeclaration(node)) return variableText(checker, node)
  if (ts.isFunctionDeclaration(node)) return `function ${node.name.text}${signatureText(checker, node)}`
  if (ts.isClassDeclaration(node)) return classText(checker, node)
  return node.getText().replace(/^export (declare )?/, "")
}

/** What a symbol declares, each with its text. Of a function with overloads, the implementation is none. */
export const declarationsOf = (symbol) => {
  const nodes = symbol.declarations.filter((node) => !ts.isSourceFile(node))
  const isOverload = (node) => ts.isFunctionDeclaration(node) && node.body === undefined
  return nodes
    .filter((node) => !(nodes.some(isOverload) && ts.isFunctionDeclaration(node) && node.body !== undefined))
    .map((node) => ({ node, text: (checker) => declarationText(checker, node) }))
}

/** The parts of a declaration that its text has as they are written. */
const writtenIn = (node) => {
  if (ts.isVariableDeclaration(node) || ts.isPropertyDeclaration(node)) {
    const value = node.initializer && bare(node.initializer)
    if (node.type !== undefined) return [node.type]
    if (isFunction(value)) return writtenIn(value)
    return value === undefined || hasBody(value) || ts.isPropertyDeclaration(node) ? [] : [value]
  }
  if (ts.isFunctionLike(node) && "body" in node) {
    return [...(node.typeParameters ?? []), ...node.parameters, ...(node.type === undefined ? [] : [node.type])]
  }
  if (ts.isClassDeclaration(node)) {
    const members = node.members.filter((member) => !isHidden(member)).flatMap(writtenIn)
    return [...(node.typeParameters ?? []), ...(node.heritageClauses ?? []), ...members]
  }
  return ts.isClassStaticBlockDeclaration(node) ? [] : [node]
}

/** The names that the text of a declaration has. */
export const namesIn = (node) => {
  const names = []
  const visit = (child) => {
    if (ts.isBlock(child)) return
    if (ts.isIdentifier(child)) names.push(child)
    ts.forEachChild(child, visit)
  }
  for (const part of writtenIn(node)) visit(part)
  return names
}

/** What a name means. `{ payload }` is a property whose value has the same name: the value is meant. */
export const meaningOf = (checker, name) => {
  const isShorthand = ts.isShorthandPropertyAssignment(name.parent)
  const symbol = isShorthand
    ? checker.getShorthandAssignmentValueSymbol(name.parent)
    : checker.getSymbolAtLocation(name)
  return symbol !== undefined && symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol
}

/** Whether a name is that of what an interface or a class extends. */
export const isExtended = ({ parent }) => ts.isExpressionWithTypeArguments(parent) && ts.isHeritageClause(parent.parent)

/** Whether a symbol is a type, or a value made without functions, of a module: its declaration says what it is. */
export const saysWhatItIs = (symbol) =>
  (symbol.declarations ?? []).some((node) => {
    if (ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node)) return ts.isSourceFile(node.parent)
    if (ts.isClassDeclaration(node)) {
      const base = node.heritageClauses?.[0]?.types[0]?.expression
      return ts.isSourceFile(node.parent) && base !== undefined && ts.isCallExpression(base)
    }
    if (!ts.isVariableDeclaration(node) || !ts.isSourceFile(node.parent.parent.parent)) return false
    return node.type === undefined && node.initializer !== undefined && !hasBody(node.initializer)
  })
