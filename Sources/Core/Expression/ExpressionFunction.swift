/// The functions of the expression language, each with the arguments it takes.
enum ExpressionFunction: String, CaseIterable {
  case `if`, coalesce
  case isNull = "is_null"
  case len
  case abs, log, exp, sqrt, floor, ceil, round, min, max, clip
  case year, quarter, month, day, hour, minute, second, weekday
  case dayOfYear = "day_of_year"

  /// How many arguments it takes.
  var arity: ClosedRange<Int> {
    switch self {
    case .if, .clip: 3...3
    case .coalesce: 1...Int.max
    case .min, .max: 2...Int.max
    case .isNull, .len, .abs, .log, .exp, .sqrt, .floor, .ceil, .round: 1...1
    case .year, .quarter, .month, .day, .hour, .minute, .second, .weekday, .dayOfYear: 1...2
    }
  }

  /// How a call looks, for messages.
  var usage: String {
    switch self {
    case .if: "if(condition, then, else)"
    case .clip: "clip(x, low, high)"
    case .coalesce: "coalesce(a, b, …)"
    case .min, .max: "\(rawValue)(a, b, …)"
    case .isNull, .len, .abs, .log, .exp, .sqrt, .floor, .ceil, .round: "\(rawValue)(x)"
    case .year, .quarter, .month, .day, .hour, .minute, .second, .weekday, .dayOfYear:
      "\(rawValue)(time) or \(rawValue)(time, 'Area/City')"
    }
  }

  /// The function of that name with that many arguments, or why there is none.
  static func find(_ name: String, arguments: Int) -> Result<ExpressionFunction, ExpressionError> {
    guard let function = ExpressionFunction(rawValue: name) else {
      return .failure(
        ExpressionError(
          "unknown function '\(name)'\(suggestion(for: name, among: allCases.map(\.rawValue)))"))
    }
    guard function.arity.contains(arguments) else {
      return .failure(
        ExpressionError(
          "\(name) is written \(function.usage), here it has \(arguments) "
            + "argument\(arguments == 1 ? "" : "s")"
        ))
    }
    return .success(function)
  }
}
