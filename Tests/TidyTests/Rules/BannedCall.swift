/// Something the house does without, and what to write instead.
struct BannedCall: Sendable {
  enum Place: Sendable {
    /// Swift code, without comments and strings.
    case code
    /// The whole text of any file, comments and strings included.
    case text
  }

  /// What is looked for; a match never begins in the middle of an identifier.
  let needles: [String]
  let place: Place
  /// What to write instead, as the end of the message.
  let instead: String
  /// Which files the ban holds for, by path.
  let holds: @Sendable (String) -> Bool

  init(
    _ needles: String..., in place: Place = .code, instead: String,
    where holds: @escaping @Sendable (String) -> Bool = { _ in true }
  ) {
    self.needles = needles
    self.place = place
    self.instead = instead
    self.holds = holds
  }

  func violations(in file: SourceFile) -> [Violation] {
    guard holds(file.path), place == .text || file.path.hasSuffix(".swift") else { return [] }
    let text = place == .code ? file.code : file.text
    return needles.flatMap { needle in
      BannedCall.positions(of: needle, in: text).map {
        Violation(
          path: file.path, line: SourceLines.number(at: $0, in: text),
          message: "`\(needle)` is banned: \(instead)")
      }
    }
  }

  /// Where `needle` begins in `text` without continuing an identifier, a member (`log.print(`), a
  /// path (`a/work/`) or declaring a function of that name (`func sleep(`).
  static func positions(of needle: String, in text: [UInt8]) -> [Int] {
    let needle = Array(needle.utf8)
    guard let first = needle.first, text.count >= needle.count else { return [] }
    return (0...(text.count - needle.count)).filter { index in
      text[index] == first && text[index...].starts(with: needle) && begins(at: index, in: text)
    }
  }

  private static func begins(at index: Int, in text: [UInt8]) -> Bool {
    let before = text[..<index]
    guard let last = before.last else { return true }
    if last.isIdentifierByte || last == UInt8(ascii: ".") || last == UInt8(ascii: "}") {
      return false
    }
    return !before.hasSuffix("func ")
  }
}

extension ArraySlice<UInt8> {
  func hasSuffix(_ text: String) -> Bool { suffix(text.utf8.count).elementsEqual(text.utf8) }
}
