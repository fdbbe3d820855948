import Catalog
import Core
import Testing

@Suite("Damaged definitions")
struct DefinitionMutationTests {
  private static let fragments = [
    "{", "}", "[", "]", ":", ",", "\"", "'", "#", "&a", "*a", "!!int", "|", ">", "- ", "? ", "\t",
    "\n",
    "  ", "null", "~", "-1", "1e999", "0s", "é", "\u{0}", "<<", "---", "%", "@", "derived",
    "latest", "a.b",
    "((((((((", "not ", "* ", "\u{FEFF}", "\u{2028}", "9999999999999999999999",
  ]

  /// The seed is an argument, so that it is printed before anything can go wrong.
  @Test(
    "however a file is damaged, it is read or refused with a place, never a crash",
    arguments: [UInt64.random(in: .min ... .max)])
  func mutations(seed: UInt64) throws {
    var random = SplitMix(state: seed)
    let originals = try DefinitionFixtures.names("good").map {
      try DefinitionFixtures.bytes("good", $0)
    }
    for round in 0..<1_500 {
      guard var bytes = originals.randomElement(using: &random) else { return }
      for _ in 0..<Int.random(in: 1...4, using: &random) { Self.damage(&bytes, &random) }
      do {
        _ = try DefinitionFixtures.parse(bytes)
      } catch {
        #expect(!error.diagnostics.isEmpty, "seed \(seed), round \(round)")
        #expect(
          error.diagnostics.allSatisfy { $0.line >= 1 && $0.column >= 1 && !$0.message.isEmpty },
          "seed \(seed), round \(round)")
      }
    }
  }

  private static func damage(_ bytes: inout [UInt8], _ random: inout SplitMix) {
    guard !bytes.isEmpty else { return }
    let at = Int.random(in: 0..<bytes.count, using: &random)
    let end = min(bytes.count, at + Int.random(in: 1...30, using: &random))
    switch Int.random(in: 0..<6, using: &random) {
    case 0: bytes.removeSubrange(at..<end)
    case 1: bytes[at] = UInt8.random(in: 0...255, using: &random)
    case 2:
      let fragment = fragments.randomElement(using: &random) ?? ""
      bytes.insert(contentsOf: Array(fragment.utf8), at: at)
    case 3:
      bytes.insert(
        contentsOf: Array(bytes[at..<end]), at: Int.random(in: 0..<bytes.count, using: &random))
    case 4: bytes.removeLast(bytes.count - at)
    default:
      let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
      var moved = lines
      moved.swapAt(
        Int.random(in: 0..<lines.count, using: &random),
        Int.random(in: 0..<lines.count, using: &random))
      bytes = Array(moved.joined(separator: [UInt8(ascii: "\n")]))
    }
  }

  @Test("nesting and repetition without end are refused")
  func bombs() {
    var bomb = "a0: &a0 [x, x, x, x, x, x, x, x]\n"
    for level in 1...12 {
      bomb +=
        "a\(level): &a\(level) ["
        + Array(repeating: "*a\(level - 1)", count: 8).joined(separator: ",") + "]\n"
    }
    let texts = [
      bomb, "a: " + String(repeating: "[", count: 50_000), String(repeating: "- ", count: 50_000),
      String(repeating: "{a: ", count: 5_000), "project: " + String(repeating: "x", count: 2 << 20),
      "project: a\nviews: {a: {features: {b: {derived: '" + String(repeating: "(", count: 4_000)
        + "'}}}}",
    ]
    for text in texts {
      #expect(throws: DefinitionErrors.self) { try DefinitionFixtures.parse(text) }
    }
  }

  @Test("a chain of derived features may be only so long")
  func longChain() throws {
    func chain(_ length: Int) -> String {
      var text = """
        project: p
        entities: {e: {key: [k]}}
        sources: {s: {event_time: at, columns: {k: string, x: double}}}
        views:
          v:
            entity: e
            source: s
            features:
              f0: {latest: x}

        """
      for index in 1...length { text += "      f\(index): {derived: f\(index - 1) + 1}\n" }
      return text
    }
    #expect(try DefinitionFixtures.parse(chain(60)).view("v")?.features.last?.type == .double)
    let reversed = chain(500).split(separator: "\n", omittingEmptySubsequences: false)
    let head = reversed.prefix(9)
    let tail = reversed.dropFirst(9).reversed()
    #expect(throws: DefinitionErrors.self) {
      try DefinitionFixtures.parse((head + tail).joined(separator: "\n"))
    }
  }
}

/// A small generator, so that a printed seed repeats a run.
struct SplitMix: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
