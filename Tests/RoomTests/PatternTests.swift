import Core
import Testing

@Suite struct PatternTests {
  static let matching: [(pattern: String, text: String)] = [
    ("", ""), ("abc", "abc"), ("^abc$", "abc"), ("a|bc|", "bc"), ("a|bc|", ""), ("a*", "aaaa"),
    ("(ab)+c?", "abab"), ("[A-Z]{3}-\\d{4}", "ABC-0123"),
    ("[^@\\s]+@[^@\\s]+\\.[a-z]{2,}", "a.b@c.at"),
    ("a{2,}", "aaaaa"), ("a{0}b", "b"), ("(a{1,3}){2}", "aaaaa"), (".", "é"), (".*", "日本 🚆"),
    ("[\\d\\-]+", "12-3"), ("[]a]+", "]a"), ("[a-]+", "a-a"), ("\\$\\{x\\}", "${x}"),
    ("(?:a|b)(?:c|d)", "bd"), ("(^a|b)c", "ac"), ("\\w+", "snake_Case9"), ("\\W", "é"),
    ("\\D\\S", "a."),
    ("[\\D]", "x"), ("x$|y", "x"),
  ]

  @Test("an expression matches the whole of a text", arguments: matching)
  func matches(pattern: String, text: String) throws {
    #expect(try Pattern(pattern).matches(text))
  }

  static let failing: [(pattern: String, text: String)] = [
    ("abc", "abcd"), ("abc", "xabc"), ("", "a"), ("a+", ""), ("[A-Z]{3}", "AB"), ("a{2,3}", "aaaa"),
    (".", "\n"), ("[^a]", "a"), ("\\d", "٣"), ("a$b", "ab"), ("a^b", "ab"), ("\\w", "é"),
    ("[\\D]", "7"),
  ]

  @Test("an expression does not match a part of a text, or another", arguments: failing)
  func fails(pattern: String, text: String) throws {
    #expect(try !Pattern(pattern).matches(text))
  }

  static let refused: [(pattern: String, message: String, offset: Int)] = [
    ("(a)\\1", "back references are not available", 3),
    ("(?=a)", "look-around, named groups and flags are not available", 0),
    ("a**", "a repetition cannot be repeated or made lazy; put it in a group", 2),
    ("*a", "there is nothing to repeat before '*'", 0), ("(a", "this '(' is not closed", 0),
    ("a)", "a ')' without its '('", 1), ("[a", "this '[' is not closed", 0),
    ("[z-a]", "a range in brackets goes from a character to a later one", 0),
    ("a{3,2}", "the greatest count is below the least", 1),
    ("a{x}", "'{' needs a count, as in {2,5}; write \\{ for the character", 1),
    ("\\q", "the escape \\q is not known", 0), ("a\\", "a '\\' at the end", 1),
    (
      "((a{100}){100}){100}",
      "its repetitions unfold to more than 2000 states; use smaller counts", 0
    ),
    ("(((){2000}){2000}){2000}", "its repetitions unfold too far; use smaller counts", 0),
  ]

  @Test(
    "what cannot be matched in linear time, or is no expression, is refused", arguments: refused)
  func refuses(pattern: String, message: String, offset: Int) throws {
    let fault = #expect(throws: Pattern.Fault.self) { try Pattern(pattern) }
    #expect(fault?.message == message)
    #expect(fault?.offset == offset)
  }

  /// A backtracking engine would take longer than the universe has existed.
  @Test(
    "a catastrophic expression ends",
    arguments: ["(a*)*b", "(a|aa)+b", "(a|a)*b"])
  func linear(pattern: String) throws {
    #expect(try !Pattern(pattern).matches(String(repeating: "a", count: 20_000)))
  }

  @Test("a text beyond the bound does not match")
  func bounded() throws {
    let pattern = try Pattern("a*")
    #expect(pattern.matches(String(repeating: "a", count: Pattern.maximumTextBytes)))
    #expect(!pattern.matches(String(repeating: "a", count: Pattern.maximumTextBytes + 1)))
  }
}
