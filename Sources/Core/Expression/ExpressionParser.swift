extension Expression {
  /// Reads the text of an expression.
  ///
  /// From the loosest to the tightest: `or`, `and`, `not`, comparisons with `in` and `is null`
  /// (which do not chain), `+ -`, `* / %`, unary `-`. Keywords and functions are known in any
  /// case. Text and nesting are bounded by `Limits`. The error's offset is the 0-based character
  /// at fault.
  package static func parse(_ text: String) throws(ExpressionError) -> Expression {
    guard text.utf8.count <= Limits.expressionCharacters else {
      throw ExpressionError(
        "the expression has more than \(Limits.expressionCharacters) characters; split it into "
          + "derived features",
        at: Limits.expressionCharacters)
    }
    var parser = try ExpressionParser(text)
    return try parser.whole()
  }
}

/// A recursive-descent parser that watches the depth of what it builds.
private struct ExpressionParser {
  struct Node {
    var expression: Expression
    /// Levels of the tree.
    var depth: Int
  }

  private var lexer: ExpressionLexer
  private var token: ExpressionToken
  /// Levels of parentheses, calls and prefix operators that are open.
  private var nesting = 0

  init(_ text: String) throws(ExpressionError) {
    lexer = ExpressionLexer(text)
    token = try lexer.next()
  }

  mutating func whole() throws(ExpressionError) -> Expression {
    if token.kind == .end { throw lexer.fault("the expression is empty", at: token.start) }
    let node = try disjunction()
    guard token.kind == .end else {
      throw lexer.fault("unexpected \(described(token)) after the expression", at: token.start)
    }
    return node.expression
  }

  // MARK: Levels of precedence

  private mutating func disjunction() throws(ExpressionError) -> Node {
    var left = try conjunction()
    while isKeyword("or") {
      let place = try advance()
      left = try binary(.or, left, try conjunction(), at: place)
    }
    return left
  }

  private mutating func conjunction() throws(ExpressionError) -> Node {
    var left = try negation()
    while isKeyword("and") {
      let place = try advance()
      left = try binary(.and, left, try negation(), at: place)
    }
    return left
  }

  private mutating func negation() throws(ExpressionError) -> Node {
    guard isKeyword("not") else { return try comparison() }
    let place = try advance()
    try enter(at: place)
    let operand = try negation()
    nesting -= 1
    return try node(.unary(.not, operand.expression), over: [operand], at: place)
  }

  private mutating func comparison() throws(ExpressionError) -> Node {
    let left = try sum()
    guard let compared = try comparisonTail(left) else { return left }
    let chains = comparisonOperator != nil || isKeyword("in") || isKeyword("is")
    if chains {
      throw lexer.fault(
        "comparisons do not chain; write for example `a < b and b < c`", at: token.start)
    }
    return compared
  }

  private mutating func comparisonTail(_ left: Node) throws(ExpressionError) -> Node? {
    if let comparison = comparisonOperator {
      let place = try advance()
      return try binary(comparison, left, try sum(), at: place)
    }
    if isKeyword("in") { return try membership(left) }
    if isKeyword("is") {
      let place = try advance()
      let isNegated = isKeyword("not")
      if isNegated { try advance() }
      guard isKeyword("null") else {
        throw lexer.fault("`is` is followed by `null` or `not null`", at: token.start)
      }
      try advance()
      let test = try node(.call("is_null", [left.expression]), over: [left], at: place)
      return isNegated ? try node(.unary(.not, test.expression), over: [test], at: place) : test
    }
    if isKeyword("not") {
      let place = try advance()
      guard isKeyword("in") else {
        throw lexer.fault("`not` after a value is followed by `in (…)`", at: token.start)
      }
      let member = try membership(left)
      return try node(.unary(.not, member.expression), over: [member], at: place)
    }
    return nil
  }

  /// `in (a, b)`, the operand having been read.
  private mutating func membership(_ operand: Node) throws(ExpressionError) -> Node {
    let place = try advance()
    guard isSign("(") else {
      throw lexer.fault(
        "`in` is followed by values in parentheses, as in x in (1, 2)", at: token.start)
    }
    try advance()
    let members = try list(openedAt: place)
    guard !members.isEmpty else { throw lexer.fault("`in ()` has no values", at: place) }
    return try node(
      .membership(operand.expression, members.map(\.expression)), over: members + [operand],
      at: place)
  }

  private mutating func sum() throws(ExpressionError) -> Node {
    var left = try product()
    while isSign("+") || isSign("-") {
      let sign: Expression.BinaryOperator = isSign("+") ? .add : .subtract
      let place = try advance()
      left = try binary(sign, left, try product(), at: place)
    }
    return left
  }

  private mutating func product() throws(ExpressionError) -> Node {
    var left = try prefix()
    while let sign = productOperator {
      let place = try advance()
      left = try binary(sign, left, try prefix(), at: place)
    }
    return left
  }

  private mutating func prefix() throws(ExpressionError) -> Node {
    guard isSign("-") else { return try primary() }
    let place = try advance()
    if let negative = negativeNumber {
      // A sign before a number is part of it, so that the least whole number can be written.
      try advance()
      return Node(expression: .literal(negative), depth: 1)
    }
    try enter(at: place)
    let operand = try prefix()
    nesting -= 1
    return try node(.unary(.negate, operand.expression), over: [operand], at: place)
  }

  private var negativeNumber: Expression.Literal? {
    switch token.kind {
    case .number(.int64(let value)): .int64(-value)
    case .number(.double(let value)): .double(-value)
    case .leastMagnitude: .int64(.min)
    default: nil
    }
  }

  private mutating func primary() throws(ExpressionError) -> Node {
    let place = token.start
    switch token.kind {
    case .leastMagnitude:
      throw lexer.fault(
        "the whole number 9223372036854775808 does not fit 64 bits; write it with a decimal point",
        at: place)
    case .number(let literal):
      try advance()
      return Node(expression: .literal(literal), depth: 1)
    case .string(let text):
      try advance()
      return Node(expression: .literal(.string(text)), depth: 1)
    case .sign("("):
      try advance()
      try enter(at: place)
      let inner = try disjunction()
      nesting -= 1
      try close(openedAt: place)
      return inner
    case .word(let word):
      try advance()
      return try isSign("(") ? call(word, at: place) : constantOrName(word, at: place)
    case .sign, .end:
      throw lexer.fault("a value is missing before \(described(token))", at: place)
    }
  }

  private func constantOrName(_ word: String, at place: Int) throws(ExpressionError) -> Node {
    switch word.lowercased() {
    case "true": return Node(expression: .literal(.bool(true)), depth: 1)
    case "false": return Node(expression: .literal(.bool(false)), depth: 1)
    case "null": return Node(expression: .literal(.null), depth: 1)
    case let keyword where ExpressionParser.keywords.contains(keyword):
      throw lexer.fault("a value is missing before `\(word)`", at: place)
    default: return Node(expression: .name(word), depth: 1)
    }
  }

  private mutating func call(_ word: String, at place: Int) throws(ExpressionError) -> Node {
    let name = word.lowercased()
    if ExpressionParser.keywords.contains(name) {
      throw lexer.fault("a value is missing before `\(word)`", at: place)
    }
    try advance()
    let arguments = try list(openedAt: place)
    if case .failure(let error) = ExpressionFunction.find(name, arguments: arguments.count) {
      throw lexer.fault(error.message, at: place)
    }
    return try node(.call(name, arguments.map(\.expression)), over: arguments, at: place)
  }

  /// Values between commas up to the closing parenthesis.
  private mutating func list(openedAt place: Int) throws(ExpressionError) -> [Node] {
    var values: [Node] = []
    if isSign(")") {
      try advance()
      return values
    }
    try enter(at: place)
    values.append(try disjunction())
    while isSign(",") {
      try advance()
      values.append(try disjunction())
    }
    nesting -= 1
    try close(openedAt: place)
    return values
  }

  // MARK: Tokens

  static let keywords: Set<String> = ["and", "or", "not", "in", "is", "null", "true", "false"]

  /// Moves on and returns where the token that was passed began.
  @discardableResult
  private mutating func advance() throws(ExpressionError) -> Int {
    let place = token.start
    token = try lexer.next()
    return place
  }

  private func isSign(_ sign: String) -> Bool { token.kind == .sign(sign) }

  private func isKeyword(_ keyword: String) -> Bool {
    if case .word(let word) = token.kind { word.lowercased() == keyword } else { false }
  }

  private var comparisonOperator: Expression.BinaryOperator? {
    guard case .sign(let sign) = token.kind else { return nil }
    return switch sign {
    case "=", "==": .equal
    case "!=", "<>": .notEqual
    case "<": .less
    case "<=": .lessOrEqual
    case ">": .greater
    case ">=": .greaterOrEqual
    default: nil
    }
  }

  private var productOperator: Expression.BinaryOperator? {
    if isSign("*") { return .multiply }
    if isSign("/") { return .divide }
    return isSign("%") ? .modulo : nil
  }

  private func described(_ token: ExpressionToken) -> String {
    switch token.kind {
    case .number, .leastMagnitude: "number"
    case .string: "string"
    case .word(let word): "'\(word)'"
    case .sign(let sign): "'\(sign)'"
    case .end: "the end"
    }
  }

  private mutating func close(openedAt place: Int) throws(ExpressionError) {
    guard isSign(")") else {
      throw token.kind == .end
        ? lexer.fault("the parenthesis that is opened here is not closed", at: place)
        : lexer.fault("expected ')' or an operator before \(described(token))", at: token.start)
    }
    try advance()
  }

  // MARK: Depth

  private mutating func enter(at place: Int) throws(ExpressionError) {
    nesting += 1
    if nesting > Limits.expressionDepth { throw tooDeep(at: place) }
  }

  private func binary(
    _ sign: Expression.BinaryOperator, _ left: Node, _ right: Node, at place: Int
  ) throws(ExpressionError) -> Node {
    try node(.binary(sign, left.expression, right.expression), over: [left, right], at: place)
  }

  private func node(
    _ expression: Expression, over operands: [Node], at place: Int
  ) throws(ExpressionError) -> Node {
    let depth = 1 + (operands.map(\.depth).max() ?? 0)
    if depth > Limits.expressionDepth { throw tooDeep(at: place) }
    return Node(expression: expression, depth: depth)
  }

  private func tooDeep(at place: Int) -> ExpressionError {
    lexer.fault(
      "the expression is nested deeper than \(Limits.expressionDepth) levels; split it into "
        + "derived features",
      at: place)
  }
}
