extension Expression {
  /// The type of the result; nil for a bare null.
  ///
  /// `type` gives the type of a name, nil for an unknown one; `names` are the known names, for the
  /// nearest one in the message. Whole numbers stay whole under `+ - * %`, `abs`, `min`, `max`,
  /// `clip` and rounding; `/` always yields a double. Throws on unknown names, wrong operand types
  /// and wrong argument counts; the tree has no places, so the offset is 0.
  package func type(
    given type: (String) -> ColumnType?, names: [String]
  ) throws(ExpressionError) -> ColumnType? {
    switch self {
    case .literal(let literal): return literal.type
    case .name(let name):
      guard let found = type(name) else {
        throw ExpressionError("unknown name '\(name)'\(suggestion(for: name, among: names))")
      }
      return found
    case .unary(let sign, let operand):
      let found = try operand.type(given: type, names: names)
      switch sign {
      case .negate:
        try operand.require(found, oneOf: [.int64, .double], for: "'-'")
        return found ?? .double
      case .not:
        try operand.require(found, oneOf: [.bool], for: "'not'")
        return .bool
      }
    case .binary(let sign, let left, let right):
      return try binaryType(
        sign, left, try left.type(given: type, names: names), right,
        try right.type(given: type, names: names))
    case .membership(let operand, let members):
      let found = try operand.type(given: type, names: names)
      for member in members {
        try operand.requireComparable(
          found, with: member, try member.type(given: type, names: names), for: "'in'")
      }
      return .bool
    case .call(let name, let arguments):
      let function: ExpressionFunction
      switch ExpressionFunction.find(name, arguments: arguments.count) {
      case .success(let found): function = found
      case .failure(let error): throw error
      }
      var types: [ColumnType?] = []
      for argument in arguments { types.append(try argument.type(given: type, names: names)) }
      return try callType(function, arguments, types)
    }
  }

  private func binaryType(
    _ sign: BinaryOperator, _ left: Expression, _ leftType: ColumnType?, _ right: Expression,
    _ rightType: ColumnType?
  ) throws(ExpressionError) -> ColumnType {
    switch sign {
    case .add, .subtract, .multiply, .divide, .modulo:
      try left.require(leftType, oneOf: [.int64, .double], for: "'\(sign.text)'")
      try right.require(rightType, oneOf: [.int64, .double], for: "'\(sign.text)'")
      if sign == .divide { return .double }
      return unified(leftType, rightType) ?? .double
    case .equal, .notEqual:
      try left.requireComparable(leftType, with: right, rightType, for: "'\(sign.text)'")
    case .less, .lessOrEqual, .greater, .greaterOrEqual:
      try left.require(leftType, oneOf: [.int64, .double, .timestamp], for: "'\(sign.text)'")
      try right.require(rightType, oneOf: [.int64, .double, .timestamp], for: "'\(sign.text)'")
      try left.requireComparable(leftType, with: right, rightType, for: "'\(sign.text)'")
    case .and, .or:
      try left.require(leftType, oneOf: [.bool], for: "'\(sign.text)'")
      try right.require(rightType, oneOf: [.bool], for: "'\(sign.text)'")
    }
    return .bool
  }

  private func callType(
    _ function: ExpressionFunction, _ arguments: [Expression], _ types: [ColumnType?]
  ) throws(ExpressionError) -> ColumnType? {
    switch function {
    case .isNull: return .bool
    case .len:
      if let type = types[0], !type.isArray {
        throw ExpressionError("len needs an array, but \(arguments[0].text) is \(type.rawValue)")
      }
      return .int64
    case .if:
      try arguments[0].require(types[0], oneOf: [.bool], for: "the condition of if")
      return try commonType(function, arguments.dropFirst(), types.dropFirst())
    case .coalesce: return try commonType(function, arguments[...], types[...])
    case .log, .exp, .sqrt:
      try arguments[0].require(types[0], oneOf: [.int64, .double], for: function.rawValue)
      return .double
    case .abs, .floor, .ceil, .round, .min, .max, .clip:
      for (argument, type) in zip(arguments, types) {
        try argument.require(type, oneOf: [.int64, .double], for: function.rawValue)
      }
      return types.reduce(nil, unified) ?? .double
    case .year, .quarter, .month, .day, .hour, .minute, .second, .weekday, .dayOfYear:
      try arguments[0].require(types[0], oneOf: [.timestamp], for: function.rawValue)
      if arguments.count == 2 {
        guard case .literal(.string(let zone)) = arguments[1] else {
          throw ExpressionError(
            "the zone of \(function.rawValue) is a text such as 'America/New_York', not "
              + "\(arguments[1].text)"
          )
        }
        guard ZoneOffsets.of(zone) != nil else {
          throw ExpressionError(
            "unknown zone '\(zone)'; write an IANA name such as 'America/New_York'")
        }
      }
      return .int64
    }
  }

  private func commonType(
    _ function: ExpressionFunction, _ arguments: ArraySlice<Expression>,
    _ types: ArraySlice<ColumnType?>
  ) throws(ExpressionError) -> ColumnType? {
    var common: ColumnType?
    for (argument, type) in zip(arguments, types) {
      guard let type else { continue }
      guard let known = common else {
        common = type
        continue
      }
      guard let both = unified(known, type) else {
        throw ExpressionError(
          "the values of \(function.rawValue) must be of one type; \(argument.text) is "
            + "\(type.rawValue), before it stands \(known.rawValue)"
        )
      }
      common = both
    }
    return common
  }

  private func require(
    _ type: ColumnType?, oneOf allowed: [ColumnType], for user: String
  ) throws(ExpressionError) {
    guard let type, !allowed.contains(type) else { return }
    let wanted = allowed.map(\.rawValue).joined(separator: " or ")
    throw ExpressionError("\(user) needs \(wanted), but \(self.text) is \(type.rawValue)")
  }

  private func requireComparable(
    _ type: ColumnType?, with other: Expression, _ otherType: ColumnType?, for user: String
  ) throws(ExpressionError) {
    for (one, type) in [(self, type), (other, otherType)] {
      guard let type, type.isArray else { continue }
      throw ExpressionError(
        "\(user) takes no arrays, but \(one.text) is \(type.rawValue); an array can only be passed on by "
          + "coalesce and if, and be measured by len and is_null")
    }
    guard let type, let otherType, unified(type, otherType) == nil else { return }
    throw ExpressionError(
      "\(user) cannot compare \(self.text) (\(type.rawValue)) with \(other.text) "
        + "(\(otherType.rawValue))"
    )
  }
}

extension Expression.Literal {
  fileprivate var type: ColumnType? {
    switch self {
    case .null: nil
    case .bool: .bool
    case .int64: .int64
    case .double: .double
    case .string: .string
    }
  }
}

/// The type that holds values of both, nil where there is none; an unknown type gives way to the
/// other.
func unified(_ a: ColumnType?, _ b: ColumnType?) -> ColumnType? {
  guard let a else { return b }
  guard let b, a != b else { return a }
  return a.isNumeric && b.isNumeric ? .double : nil
}
