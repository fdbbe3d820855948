import Core

/// An expression with the text it was written as, so that its errors point into that text.
struct WrittenExpression {
  var expression: Expression
  var scalar: YAMLScalar
  var what: String

  /// Where a name stands in the text: its first occurrence as a whole word.
  func place(of name: String) -> Place {
    let text = Array(scalar.text)
    let word = Array(name)
    guard !word.isEmpty, text.count >= word.count else { return scalar.place }
    for start in 0...(text.count - word.count)
    where Array(text[start..<start + word.count]) == word {
      let before = start == 0 ? " " : text[start - 1]
      let after = start + word.count == text.count ? " " : text[start + word.count]
      if !before.continuesName, !after.continuesName { return scalar.place(atOffset: start) }
    }
    return scalar.place
  }

  /// Checks names and types; every error is reported.
  ///
  /// - Parameters:
  ///   - type: what a name stands for, nil for an unknown one. A name whose own declaration is in
  ///     error has no type (an inner nil): nothing is concluded from it, so one mistake is told once.
  ///   - names: all known names.
  /// - Returns: the type of the result; nil where it is not known or the expression is in error.
  func checkedType(
    given type: (String) -> ColumnType??, among names: () -> [String], noun: String,
    _ diagnostics: Diagnostics
  ) -> ColumnType? {
    var isWhole = true
    for name in expression.names {
      switch type(name) {
      case .none:
        isWhole = false
        diagnostics.report(
          "\(what): '\(name)' is not \(noun)\(suggestion(for: name, among: names()))",
          at: place(of: name))
      case .some(.none): isWhole = false
      case .some(.some): break
      }
    }
    guard isWhole else { return nil }
    do {
      let result = try expression.type(given: { type($0) ?? nil }, names: [])
      if result == nil { diagnostics.report("\(what) is always null", at: scalar.place) }
      return result
    } catch {
      diagnostics.report("\(what): \(error.message)", at: scalar.place(atOffset: error.offset))
      return nil
    }
  }
}

extension Character {
  fileprivate var continuesName: Bool { isLetter || isNumber || self == "_" || self == "." }
}

extension NodeReader {
  func expression() -> WrittenExpression? {
    guard let scalar = scalar("an expression") else { return nil }
    guard scalar.text.count <= Limits.expressionCharacters else {
      report(
        "\(what) has \(scalar.text.count) characters; at most \(Limits.expressionCharacters) are allowed"
      )
      return nil
    }
    do {
      return WrittenExpression(
        expression: try Expression.parse(scalar.text), scalar: scalar, what: what)
    } catch {
      report("\(what): \(error.message)", at: scalar.place(atOffset: error.offset))
      return nil
    }
  }
}
