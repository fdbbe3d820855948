extension Expression {
  /// The canonical text: it parses back to the same tree, and two texts of one tree are one
  /// canonical text.
  package var text: String {
    var text = ""
    write(to: &text)
    return text
  }

  /// How tightly the outermost operator binds; an operand that binds less tightly is put in
  /// parentheses.
  private var strength: Int {
    switch self {
    case .binary(.or, _, _): 1
    case .binary(.and, _, _): 2
    case .unary(.not, _): 3
    case .membership: 4
    case .binary(let sign, _, _):
      switch sign {
      case .add, .subtract: 5
      case .multiply, .divide, .modulo: 6
      default: 4
      }
    case .unary(.negate, _): 7
    case .literal(.int64(let value)): value < 0 ? 7 : 8
    case .literal(.double(let value)): value.sign == .minus ? 7 : 8
    case .literal, .name, .call: 8
    }
  }

  private func write(to text: inout String) {
    switch self {
    case .literal(let literal): text += literal.text
    case .name(let name): text += name
    case .unary(.not, let operand):
      text += "not "
      operand.write(to: &text, atLeast: 3)
    case .unary(.negate, let operand):
      // `-5` is the number, so the negation of the number 5 keeps its parentheses.
      let isPositiveNumber =
        if case .literal(let literal) = operand, literal.isNumber { operand.strength == 8 } else {
          false
        }
      text += "-"
      operand.write(to: &text, atLeast: isPositiveNumber ? 9 : 7)
    case .binary(let sign, let left, let right):
      // Comparisons do not chain; the others group to the left.
      left.write(to: &text, atLeast: strength == 4 ? 5 : strength)
      text += " \(sign.text) "
      right.write(to: &text, atLeast: strength + 1)
    case .call(let name, let arguments):
      text += name
      Expression.write(list: arguments, to: &text)
    case .membership(let operand, let members):
      operand.write(to: &text, atLeast: 5)
      text += " in "
      Expression.write(list: members, to: &text)
    }
  }

  private func write(to text: inout String, atLeast required: Int) {
    guard strength < required else { return write(to: &text) }
    text += "("
    write(to: &text)
    text += ")"
  }

  private static func write(list: [Expression], to text: inout String) {
    text += "("
    for (index, one) in list.enumerated() {
      if index > 0 { text += ", " }
      one.write(to: &text)
    }
    text += ")"
  }
}

extension Expression.Literal {
  var isNumber: Bool {
    switch self {
    case .int64, .double: true
    case .null, .bool, .string: false
    }
  }

  fileprivate var text: String {
    switch self {
    case .null: "null"
    case .bool(let value): value ? "true" : "false"
    case .int64(let value): String(value)
    case .double(let value): "\(value)"
    case .string(let value): value.sqlLiteral
    }
  }
}

extension Expression.BinaryOperator {
  var text: String {
    switch self {
    case .add: "+"
    case .subtract: "-"
    case .multiply: "*"
    case .divide: "/"
    case .modulo: "%"
    case .equal: "="
    case .notEqual: "!="
    case .less: "<"
    case .lessOrEqual: "<="
    case .greater: ">"
    case .greaterOrEqual: ">="
    case .and: "and"
    case .or: "or"
    }
  }
}
