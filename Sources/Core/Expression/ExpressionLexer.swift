/// One word or sign of an expression's text, and the byte it begins at.
struct ExpressionToken: Equatable {
  enum Kind: Equatable {
    case number(Expression.Literal)
    /// 9223372036854775808, the one magnitude that fits 64 bits only with its minus sign.
    case leastMagnitude
    case string(String)
    /// A name, keyword or function, as it was written; with one dot at most.
    case word(String)
    /// An operator, parenthesis or comma.
    case sign(String)
    case end
  }

  var kind: Kind
  var start: Int
}

/// Splits an expression's UTF-8 text into tokens.
struct ExpressionLexer {
  private let bytes: [UInt8]
  private var position = 0

  init(_ text: String) { bytes = Array(text.utf8) }

  /// The 0-based character of the text that byte `byte` belongs to.
  func character(ofByte byte: Int) -> Int {
    String(decoding: bytes.prefix(byte), as: UTF8.self).count
  }

  func fault(_ message: String, at byte: Int) -> ExpressionError {
    ExpressionError(message, at: character(ofByte: byte))
  }

  mutating func next() throws(ExpressionError) -> ExpressionToken {
    while position < bytes.count, isBlank(bytes[position]) { position += 1 }
    guard position < bytes.count else { return ExpressionToken(kind: .end, start: position) }
    let start = position
    let byte = bytes[position]
    let kind: ExpressionToken.Kind
    if isDigit(byte) || (byte == UInt8(ascii: ".") && isDigit(peek(1))) {
      kind = try number()
    } else if isLetter(byte) {
      kind = .word(try word())
    } else if byte == UInt8(ascii: "'") || byte == UInt8(ascii: "\"") {
      kind = .string(try string(quote: byte))
    } else {
      kind = .sign(try sign())
    }
    return ExpressionToken(kind: kind, start: start)
  }

  private func peek(_ ahead: Int) -> UInt8 {
    position + ahead < bytes.count ? bytes[position + ahead] : 0
  }

  private mutating func skipDigits() {
    while isDigit(peek(0)) { position += 1 }
  }

  private mutating func number() throws(ExpressionError) -> ExpressionToken.Kind {
    let start = position
    var isWhole = true
    skipDigits()
    if peek(0) == UInt8(ascii: ".") {
      isWhole = false
      position += 1
      skipDigits()
    }
    if peek(0) | 0x20 == UInt8(ascii: "e") {
      let isSigned = peek(1) == UInt8(ascii: "+") || peek(1) == UInt8(ascii: "-")
      if isDigit(peek(isSigned ? 2 : 1)) {
        isWhole = false
        position += isSigned ? 2 : 1
        skipDigits()
      }
    }
    if isLetter(peek(0)) || peek(0) == UInt8(ascii: ".") {
      throw fault(
        "a number ends in an unexpected character; put a blank or an operator after it",
        at: position)
    }
    let text = String(decoding: bytes[start..<position], as: UTF8.self)
    if isWhole {
      if let value = Int64(text) { return .number(.int64(value)) }
      if text == "9223372036854775808" { return .leastMagnitude }
      throw fault(
        "the whole number \(text) does not fit 64 bits; write it with a decimal point", at: start)
    }
    guard let value = Double(text.hasSuffix(".") ? text + "0" : text), value.isFinite else {
      throw fault("the number \(text) is too large", at: start)
    }
    return .number(.double(value))
  }

  private mutating func word() throws(ExpressionError) -> String {
    let start = position
    var dots = 0
    while isLetter(peek(0)) || isDigit(peek(0)) || peek(0) == UInt8(ascii: ".") {
      if peek(0) == UInt8(ascii: ".") {
        dots += 1
        guard dots == 1, isLetter(peek(1)) else {
          throw fault("a name has one dot at most, as in view.feature", at: position)
        }
      }
      position += 1
    }
    return String(decoding: bytes[start..<position], as: UTF8.self)
  }

  /// A quote inside is written twice.
  private mutating func string(quote: UInt8) throws(ExpressionError) -> String {
    let start = position
    var content: [UInt8] = []
    position += 1
    while position < bytes.count {
      let byte = bytes[position]
      position += 1
      if byte == quote {
        guard peek(0) == quote else { return String(decoding: content, as: UTF8.self) }
        position += 1
      }
      content.append(byte)
    }
    throw fault("the string that begins here has no closing quote", at: start)
  }

  private mutating func sign() throws(ExpressionError) -> String {
    let start = position
    let pair = String(decoding: [peek(0), peek(1)], as: UTF8.self)
    if ["==", "!=", "<>", "<=", ">="].contains(pair) {
      position += 2
      return pair
    }
    let byte = peek(0)
    guard "+-*/%=<>(),".utf8.contains(byte) else {
      let rest = String(decoding: bytes[start...], as: UTF8.self)
      let hint =
        switch byte {
        case UInt8(ascii: "&"): "; write `and`"
        case UInt8(ascii: "|"): "; write `or`"
        case UInt8(ascii: "!"): "; write `not`"
        default: ""
        }
      throw fault("unexpected character '\(rest.prefix(1))'\(hint)", at: start)
    }
    position += 1
    return String(decoding: [byte], as: UTF8.self)
  }
}

private func isBlank(_ byte: UInt8) -> Bool { byte == 32 || (9...13).contains(byte) }
private func isDigit(_ byte: UInt8) -> Bool { byte &- 48 < 10 }
private func isLetter(_ byte: UInt8) -> Bool {
  (byte | 0x20) &- 97 < 26 || byte == UInt8(ascii: "_")
}
