import Core
import Features
import Monitoring
import TestKit
import Testing

/// Texts of users are compared by their bytes, as the warehouse does.
@Suite struct ExactTextTests {
  /// Pieces that combine into texts that Swift's `==` holds for equal though their bytes differ.
  static let pieces = [
    "a", "e", "\u{E9}", "e\u{301}", "\u{301}", "\u{323}", "\u{307}", "\u{212B}", "\u{C5}", "|",
    "\\", "'", "\"", "\r\n", "\n", "K", "\u{212A}", "한", "\u{1112}\u{1161}\u{11AB}",
  ]

  static func text(using random: inout SeededGenerator) -> String {
    (0..<Int.random(in: 0...4, using: &random)).reduce(into: "") { text, _ in
      text += pieces.randomElement(using: &random) ?? ""
    }
  }

  static func texts(_ count: Int, seed: UInt64) -> [String] {
    var random = SeededGenerator(seed: seed)
    return (0..<count).map { _ in text(using: &random) }
  }

  @Test func `keys, values and literals are equal where their bytes are`() {
    let seed = UInt64.random(in: 0...1_000_000)
    let texts = ExactTextTests.texts(400, seed: seed)
    var canonicalPairs = 0
    for a in texts {
      for b in texts {
        let same = Array(a.utf8) == Array(b.utf8)
        if a == b, !same { canonicalPairs += 1 }
        let verdicts = [
          ExactText(a) == ExactText(b), EntityKey.string(a) == .string(b),
          EntityKey.composite([.string(a), .int64(1)]) == .composite([.string(b), .int64(1)]),
          Value.string(a) == .string(b), ColumnValues.string([a]) == .string([b]),
          Expression.Literal.string(a) == .string(b),
        ]
        if verdicts != verdicts.map({ _ in same }) {
          Issue.record("seed \(seed): \(a.debugDescription) and \(b.debugDescription): \(verdicts)")
          return
        }
      }
    }
    #expect(canonicalPairs > 0, "the texts put it to the test")
  }

  @Test func `sets hold as many texts as there are byte strings`() {
    let texts = ExactTextTests.texts(3_000, seed: 11)
    let distinct = Set(texts.map { Array($0.utf8) }).count
    #expect(Set(texts).count < distinct)
    #expect(Set(texts.map { ExactText($0) }).count == distinct)
    #expect(Set(texts.map { EntityKey.string($0) }).count == distinct)
    #expect(Set(texts.map { Value.string($0) }).count == distinct)
    #expect(Set(texts.map { Expression.Literal.string($0) }).count == distinct)
  }

  @Test func `expressions compare texts by their bytes, in columns and with literals`() throws {
    let left = ExactTextTests.texts(2_000, seed: 3)
    let right = ExactTextTests.texts(2_000, seed: 4)
    let columns = [
      "a": Column(name: "a", values: .string(left)), "b": Column(name: "b", values: .string(right)),
    ]
    func rows(_ text: String) throws -> ColumnValues {
      try Expression.parse(text).evaluate(count: 2_000) { columns[$0] }.values
    }
    let same = zip(left, right).map { Array($0.utf8) == Array($1.utf8) }
    #expect(try rows("a = b") == .bool(same))
    #expect(try rows("a != b") == .bool(same.map { !$0 }))
    let composed = left.map { Array($0.utf8) == Array("\u{E9}".utf8) }
    #expect(try rows("a = '\u{E9}'") == .bool(composed))
    #expect(try rows("a in ('\u{E9}', b)") == .bool(zip(composed, same).map { $0 || $1 }))
  }

  @Test func `filters that differ only in how an accent is written are two slots`() throws {
    let source = SourceDefinition(
      name: "s", eventTime: "at", columns: [ColumnDefinition(name: "x", type: .string)])
    let features = try ["\u{E9}", "e\u{301}"].enumerated().map { index, text in
      FeatureDefinition(
        name: "n\(index)",
        kind: .window(
          WindowDefinition(
            function: .count, column: nil, filter: try Expression.parse("x = '\(text)'"),
            length: .hours(1))), type: .int64)
    }
    let layout = ViewLayout(
      view: ViewDefinition(name: "v", entity: "e", source: "s", features: features),
      entity: EntityDefinition(name: "e", key: ["x"]), source: source)
    #expect(layout.slots.count == 2)
    let values = SlotValues.of(layout.slots, count: 1) { name in
      name == "x" ? Column(name: "x", values: .string(["e\u{301}"])) : nil
    }
    #expect(values[0][0].isNaN && values[1][0] == 1)
  }

  @Test func `composite keys keep apart as text whatever combines with the bar`() {
    let texts = ExactTextTests.texts(250, seed: 5)
    var keys: [ExactText: EntityKey] = [:]
    for a in texts {
      for b in texts {
        let key = EntityKey.composite([.string(a), .string(b)])
        let found = keys.updateValue(key, forKey: ExactText(key.description))
        #expect(found == nil || found == key)
      }
    }
  }

  @Test func `a quote that an accent follows is escaped all the same`() {
    #expect(Array("a'\u{301}".sqlLiteral.utf8) == Array("'a''\u{301}'".utf8))
    #expect(Array(EventTable.quoted("a\"\u{301}").utf8) == Array("\"a\"\"\u{301}\"".utf8))
    #expect("plain".escaping("|\\", with: "\\") == "plain")
    #expect("a|b\\c".escaping("|\\", with: "\\") == "a\\|b\\\\c")
  }

  @Test func `drift tells categories apart by their bytes`() {
    let column = Column(name: "c", values: .string(["\u{E9}", "\u{E9}", "e\u{301}"]))
    let profile = ColumnProfile(of: column)
    #expect(profile.counts == [2, 1, 0, 0])
    #expect(
      profile.histogram(of: Column(name: "c", values: .string(["e\u{301}"]))) == [0, 1, 0, 0])
  }

  @Test func `a given event id that begins as the platform's do is refused, accent or not`() throws
  {
    let rows = try IngestParserTests.parse(
      "{\"at\":\"2026-01-02T03:04:05Z\",\"customer\":\"c\",\"id\":\"file:\u{301}x\"}")
    #expect(rows.quarantined.first?.reason.contains("begins with 'file:'") == true)
  }
}
