import Core
import TestKit

/// An expression in our language, and the same rule in DuckDB's SQL.
struct ExpressionPair {
  enum Kind { case whole, double, bool, text }

  var text: String
  var sql: String
  var kind: Kind

  static func random(depth: Int, using random: inout SeededGenerator) -> ExpressionPair {
    var maker = Maker(random: random)
    defer { random = maker.random }
    switch maker.below(4) {
    case 0: return maker.whole(depth)
    case 1: return maker.double(depth)
    case 2: return maker.bool(depth)
    default: return maker.text(depth)
    }
  }
}

private struct Maker {
  var random: SeededGenerator

  mutating func below(_ bound: Int) -> Int { Int.random(in: 0..<bound, using: &random) }

  private mutating func pick(_ all: [String]) -> String { all[below(all.count)] }

  private func pair(_ kind: ExpressionPair.Kind, _ text: String, _ sql: String) -> ExpressionPair {
    ExpressionPair(text: text, sql: sql, kind: kind)
  }

  /// A whole number where it fits 64 bits, else null. Not by `TRY_CAST`, whose bounds DuckDB forgets in comparisons.
  private func bounded(_ sql: String) -> String {
    "CASE WHEN (\(sql)) BETWEEN -9223372036854775808 AND 9223372036854775807 THEN (\(sql))::BIGINT END"
  }

  private func column(_ kind: ExpressionPair.Kind, _ name: String) -> ExpressionPair {
    pair(kind, name, name)
  }

  // MARK: Numbers

  mutating func whole(_ depth: Int) -> ExpressionPair {
    guard depth > 0, below(5) > 0 else {
      let number = below(9) - 4
      return below(3) == 0
        ? pair(.whole, "(\(number))", "(\(number))::BIGINT") : column(.whole, pick(["i", "j"]))
    }
    let a = whole(depth - 1)
    switch below(9) {
    case 0, 1, 2:
      let b = whole(depth - 1)
      let sign = pick(["+", "-", "*"])
      // A result beyond 64 bits is null.
      return pair(
        .whole, "(\(a.text) \(sign) \(b.text))",
        bounded("(\(a.sql))::HUGEINT \(sign) (\(b.sql))::HUGEINT"))
    case 3:
      let b = whole(depth - 1)
      return pair(
        .whole, "(\(a.text) % \(b.text))",
        "CASE WHEN (\(b.sql)) <> 0 THEN ((\(a.sql))::HUGEINT % (\(b.sql))::HUGEINT)::BIGINT END")
    case 4: return pair(.whole, "-(\(a.text))", bounded("-((\(a.sql))::HUGEINT)"))
    case 5:
      return pair(.whole, "abs(\(a.text))", bounded("abs((\(a.sql))::HUGEINT)"))
    case 6:
      return pair(.whole, "\(pick(["floor", "ceil", "round"]))(\(a.text))", a.sql)
    case 7: return extreme(a, whole(depth - 1))
    default: return choice(a, whole(depth - 1), depth)
    }
  }

  mutating func double(_ depth: Int) -> ExpressionPair {
    guard depth > 0, below(5) > 0 else {
      let number = ["0.5", "2.0", "-1.25", "0.0"][below(4)]
      return below(3) == 0
        ? pair(.double, "(\(number))", "(\(number))::DOUBLE") : column(.double, pick(["d", "e"]))
    }
    let a = double(depth - 1)
    switch below(12) {
    case 0, 1, 2:
      let b = below(2) == 0 ? double(depth - 1) : whole(depth - 1)
      let sign = pick(["+", "-", "*"])
      return pair(
        .double, "(\(a.text) \(sign) \(b.text))", "(\(a.sql)) \(sign) (\(b.sql))::DOUBLE")
    case 3, 4:
      // Division by zero is null, and the quotient of whole numbers is no whole number.
      let (x, y) = below(2) == 0 ? (whole(depth - 1), whole(depth - 1)) : (a, double(depth - 1))
      return pair(
        .double, "(\(x.text) / \(y.text))",
        "CASE WHEN (\(y.sql)) <> 0 THEN (\(x.sql))::DOUBLE / (\(y.sql))::DOUBLE END")
    case 5:
      return pair(
        .double, "log(\(a.text))",
        "CASE WHEN isnan(\(a.sql)) THEN \(a.sql) WHEN (\(a.sql)) > 0 THEN ln(\(a.sql)) END")
    case 6:
      return pair(
        .double, "sqrt(\(a.text))",
        "CASE WHEN isnan(\(a.sql)) THEN \(a.sql) WHEN (\(a.sql)) >= 0 THEN sqrt(\(a.sql)) END")
    case 7:
      // Between bounds, so that nothing overflows.
      let b = column(.double, "e")
      return pair(.double, "exp(\(b.text))", "exp(\(b.sql))")
    case 8:
      let name = pick(["floor", "ceil", "round", "abs"])
      return pair(.double, "\(name)(\(a.text))", "\(name)(\(a.sql))")
    case 9: return extreme(a, double(depth - 1))
    case 10:
      let clipped = below(2) == 0 ? (a, "-1.5", "2.0") : (a, "0.0", "0.5")
      let high = sqlExtreme(clipped.0.sql, clipped.1 + "::DOUBLE", "<", isLeast: false)
      return pair(
        .double, "clip(\(clipped.0.text), \(clipped.1), \(clipped.2))",
        sqlExtreme(high, clipped.2 + "::DOUBLE", ">", isLeast: true))
    default: return choice(a, double(depth - 1), depth)
    }
  }

  /// `min` or `max`: a null makes null, a NaN makes NaN.
  private mutating func extreme(_ a: ExpressionPair, _ b: ExpressionPair) -> ExpressionPair {
    let isLeast = below(2) == 0
    let text = "\(isLeast ? "min" : "max")(\(a.text), \(b.text))"
    if a.kind == .double {
      return pair(.double, text, sqlExtreme(a.sql, b.sql, isLeast ? ">" : "<", isLeast: isLeast))
    }
    return pair(
      .whole, text,
      "CASE WHEN (\(a.sql)) IS NOT NULL AND (\(b.sql)) IS NOT NULL THEN \(isLeast ? "least" : "greatest")(\(a.sql), \(b.sql)) END"
    )
  }

  private func sqlExtreme(_ a: String, _ b: String, _ worse: String, isLeast: Bool) -> String {
    """
    CASE WHEN (\(a)) IS NULL OR (\(b)) IS NULL THEN NULL WHEN isnan(\(a)) OR isnan(\(b)) THEN 'NaN'::DOUBLE \
    WHEN (\(a)) \(worse) (\(b)) THEN (\(b)) ELSE (\(a)) END
    """
  }

  // MARK: The rest

  mutating func text(_ depth: Int) -> ExpressionPair {
    guard depth > 0, below(3) > 0 else {
      return below(3) == 0
        ? pair(.text, "'it''s'", "'it''s'") : column(.text, "s")
    }
    return choice(text(depth - 1), text(depth - 1), depth)
  }

  private mutating func choice(
    _ a: ExpressionPair, _ b: ExpressionPair, _ depth: Int
  ) -> ExpressionPair {
    if below(2) == 0 {
      return pair(a.kind, "coalesce(\(a.text), \(b.text))", "coalesce(\(a.sql), \(b.sql))")
    }
    let condition = bool(depth - 1)
    return pair(
      a.kind, "if(\(condition.text), \(a.text), \(b.text))",
      "CASE WHEN \(condition.sql) THEN \(a.sql) ELSE \(b.sql) END")
  }

  mutating func bool(_ depth: Int) -> ExpressionPair {
    guard depth > 0, below(6) > 0 else { return column(.bool, pick(["b", "c"])) }
    switch below(10) {
    case 0, 1:
      let (a, b) = (bool(depth - 1), bool(depth - 1))
      let word = pick(["and", "or"])
      return pair(.bool, "(\(a.text) \(word) \(b.text))", "((\(a.sql)) \(word) (\(b.sql)))")
    case 2:
      let a = bool(depth - 1)
      return pair(.bool, "(not \(a.text))", "(NOT (\(a.sql)))")
    case 3:
      let a = [whole(depth - 1), double(depth - 1), text(depth - 1)][below(3)]
      let isNot = below(2) == 0
      if isNot { return pair(.bool, "(\(a.text) is not null)", "((\(a.sql)) IS NOT NULL)") }
      return pair(
        .bool, below(2) == 0 ? "is_null(\(a.text))" : "(\(a.text) is null)",
        "((\(a.sql)) IS NULL)")
    case 4:
      let (a, b) = (text(depth - 1), text(depth - 1))
      let sign = pick(["=", "==", "!=", "<>"])
      return pair(.bool, "(\(a.text) \(sign) \(b.text))", "((\(a.sql)) \(sign) (\(b.sql)))")
    case 5:
      let a = text(depth - 1)
      let not = pick(["", "not "])
      return pair(
        .bool, "(\(a.text) \(not)in ('a', '\u{E9}', s))", "((\(a.sql)) \(not)in ('a', '\u{E9}', s))"
      )
    case 6:
      let a = whole(depth - 1)
      let b = whole(depth - 1)
      return pair(.bool, "(\(a.text) in (1, \(b.text)))", "((\(a.sql)) in (1, (\(b.sql))))")
    case 7:
      let (a, b) = (whole(depth - 1), whole(depth - 1))
      let sign = pick(["<", "<=", ">", ">=", "=", "!="])
      return pair(.bool, "(\(a.text) \(sign) \(b.text))", "((\(a.sql)) \(sign) (\(b.sql)))")
    default: return comparison(double(depth - 1), double(depth - 1))
    }
  }

  /// Every comparison with NaN is false, except that it is unequal; DuckDB holds it for the greatest number, equal to itself.
  private mutating func comparison(_ a: ExpressionPair, _ b: ExpressionPair) -> ExpressionPair {
    let sign = pick(["<", "<=", ">", ">=", "=", "!="])
    return pair(
      .bool, "(\(a.text) \(sign) \(b.text))",
      """
      CASE WHEN (\(a.sql)) IS NULL OR (\(b.sql)) IS NULL THEN NULL WHEN isnan(\(a.sql)) OR isnan(\(b.sql)) \
      THEN \(sign == "!=") ELSE (\(a.sql)) \(sign) (\(b.sql)) END
      """)
  }
}
