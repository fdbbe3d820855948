import Core
import TestKit
import Testing

/// Sketches against the exact answers, however the values are spread over tiles.
@Suite struct SketchTests {
  private static let mark = EventMark(eventTimestamp: 0, createdAt: 0, sequence: 0)

  /// The values over some tiles, merged in another order.
  private static func merged(
    _ kind: SketchKind, _ values: [Value], tiles: Int, using random: inout SeededGenerator
  ) -> Sketch {
    var parts = [Sketch](repeating: Sketch(kind), count: tiles)
    for (sequence, value) in values.enumerated() {
      let mark = EventMark(
        eventTimestamp: Int64(sequence) / 3, createdAt: 0, sequence: Int64(sequence))
      parts[Int.random(in: 0..<tiles, using: &random)].add(value, mark)
    }
    return parts.shuffled(using: &random).reduce(into: Sketch(kind)) { $0.merge($1) }
  }

  private static func window(_ function: AggregateFunction, q: Double? = nil) -> WindowDefinition {
    WindowDefinition(function: function, column: "x", length: .hours(1), parameter: q)
  }

  @Test("distinct values are exact up to the limit and within five standard errors beyond")
  func distinct() {
    var random = SeededGenerator(seed: .random(in: 0...(.max)))
    for count in [0, 1, 1_000, DistinctValues.exactLimit, 1_025, 5_000, 40_000, 300_000] {
      let values = (0..<count).map { Value.int64(Int64($0)) }
      let sketch = Self.merged(.distinct, values + values, tiles: 7, using: &random)
      guard case .int64(let found) = sketch.value(of: Self.window(.countDistinct)) else { continue }
      let error = count <= DistinctValues.exactLimit ? 0 : 5 * 0.0115 * Double(count)
      #expect(abs(Double(found) - Double(count)) <= error, "\(found) of \(count)")
      #expect(
        Self.merged(.distinct, values, tiles: 1, using: &random) == sketch,
        "the answer hangs on the tiles")
    }
  }

  @Test("texts, numbers and times are told apart by their values")
  func kinds() {
    var random = SeededGenerator(seed: 1)
    let values: [Value] = [
      .string(""), .string("a"), .string("a\0"), .string("abcdefgh"), .string("abcdefghi"),
      .double(0), .double(-0.0), .double(1), .double(1.5), .bool(true), .bool(false),
      .string("\u{e9}"), .string("e\u{301}"),
    ]
    let sketch = Self.merged(.distinct, values + values, tiles: 3, using: &random)
    #expect(sketch.value(of: Self.window(.countDistinct)) == .int64(12))
  }

  @Test("a quantile is within one per cent of the value of its rank")
  func quantiles() {
    let seed = UInt64.random(in: 0...(.max))
    var random = SeededGenerator(seed: seed)
    for _ in 0..<200 {
      let scale = Double.random(in: -300...300, using: &random)
      let values = (0..<Int.random(in: 1...400, using: &random)).map { _ -> Double in
        let size = exponent(Double.random(in: -4...4, using: &random) + scale)
        return Bool.random(using: &random) ? size : Bool.random(using: &random) ? -size : 0
      }
      let sketch = Self.merged(
        .quantile, values.map { .double($0) }, tiles: 4, using: &random)
      for q in [0, 0.01, 0.5, 0.77, 0.99, 1] {
        let exact = values.sorted()[Int((q * Double(values.count - 1)).rounded(.down))]
        let found = sketch.value(of: Self.window(.quantile, q: q)).number ?? .nan
        #expect(
          abs(found - exact) <= 0.010_000_1 * abs(exact), "seed \(seed): \(found), not \(exact)")
      }
    }
  }

  private func exponent(_ power: Double) -> Double {
    (0..<Int(abs(power))).reduce(1.0) { size, _ in power < 0 ? size / 10 : size * 10 }
      * (1 + abs(power).truncatingRemainder(dividingBy: 1))
  }

  @Test("the variance of small differences beside a large mean keeps nine digits")
  func variance() {
    let seed = UInt64.random(in: 0...(.max))
    var random = SeededGenerator(seed: seed)
    for offset in [0, 1, 1e6, 1e9, -1e9] {
      // Quarters are exact beside the offset, so that the expectation can be worked out without it.
      let steps = (0..<1_000).map { _ in Double(Int.random(in: -40...40, using: &random)) / 4 }
      let mean = steps.reduce(0, +) / 1_000
      let exact = steps.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 999
      let sketch = Self.merged(
        .moments, steps.map { .double(offset + $0) }, tiles: 5, using: &random)
      let found = sketch.value(of: Self.window(.variance)).number ?? .nan
      #expect(abs(found - exact) <= 1e-9 * exact, "seed \(seed), \(offset): \(found), \(exact)")
    }
  }

  @Test("first and last go by the marks, not by arrival")
  func ordered() {
    var random = SeededGenerator(seed: 3)
    let values = (0..<50).map { Value.string("v\($0)") }
    let first = Self.merged(.first, values, tiles: 4, using: &random)
    let last = Self.merged(.last(1), values, tiles: 4, using: &random)
    #expect(first.value(of: Self.window(.first)) == .string("v0"))
    #expect(last.value(of: Self.window(.last)) == .string("v49"))
    let lastThree = Self.merged(.last(3), values, tiles: 4, using: &random)
    #expect(lastThree.value(of: Self.window(.lastK)) == .list(.string(["v49", "v48", "v47"])))
    #expect(Sketch(.last(3)).value(of: Self.window(.lastK)) == .null)
  }
}
