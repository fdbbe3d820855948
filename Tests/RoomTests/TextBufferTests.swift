import Core
import TestKit
import Testing

/// The fast writer writes what the plain one does.
@Suite struct TextBufferTests {
  private func text(_ write: (inout TextBuffer) -> Void) -> String {
    var buffer = TextBuffer(capacity: 0)
    write(&buffer)
    return buffer.withBytes { String(decoding: $0, as: UTF8.self) }
  }

  private func plain(_ value: Value) -> String {
    var bytes: [UInt8] = []
    JSON.write(value, into: &bytes)
    return String(decoding: bytes, as: UTF8.self)
  }

  @Test func `every double is written as the plain writer writes it`() {
    var random = SeededGenerator(seed: 7)
    var all: [Double] = [
      0, -0.0, 1, -1, 0.1, 0.0001, 0.00001, 1e-9, 103.27, -5.5, 999_999_999, 1e9, 1e15, 1e16, 1e22,
      .pi, .nan, .infinity, -.infinity, .leastNonzeroMagnitude, .greatestFiniteMagnitude, 0.3,
      0.1 + 0.2, 123_456_789.1234, 99_999.99995, 2_147_483_647.5,
    ]
    for _ in 0..<20_000 {
      all.append(Double(bitPattern: UInt64.random(in: .min ... .max, using: &random)))
      let digits = Double(Int64.random(in: -10_000_000_000...10_000_000_000, using: &random))
      for scale in [1.0, 10, 100, 1_000, 10_000, 100_000] { all.append(digits / scale) }
      all.append((digits / 1e4).nextUp)
    }
    for value in all {
      let written = text { $0.append(json: value) }
      #expect(written == plain(.double(value)), "\(value.bitPattern)")
    }
  }

  @Test func `every other value and time is written as the plain writer writes it`() {
    var random = SeededGenerator(seed: 8)
    var all: [Value] = [
      .null, .bool(true), .bool(false), .int64(.min), .int64(.max), .int64(0),
      .string("a\"\n\u{e9}"),
      .list(.double([1, .nan])), .timestamp(Timestamp(microseconds: 0)),
      .timestamp(Timestamp(microseconds: -1)), .timestamp(Timestamp(microseconds: .min / 4)),
      .timestamp(Timestamp(microseconds: 1_772_323_200_123_000)),
    ]
    for _ in 0..<5_000 {
      all.append(.int64(.random(in: .min ... .max, using: &random)))
      let micros = Int64.random(
        in: -60_000_000_000_000_000...250_000_000_000_000_000, using: &random)
      all.append(.timestamp(Timestamp(microseconds: micros)))
    }
    for value in all {
      let written = text { $0.append(json: value) }
      #expect(written == plain(value))
    }
  }

  @Test(arguments: [
    (0, "0.000"), (1_499, "0.001"), (1_500, "0.002"), (-61_000_000, "-61.000"), (-400, "0.000"),
    (86_400_123_000, "86400.123"),
  ])
  func `a length is written in seconds with three decimals`(micros: Int64, says: String) {
    let written = text { $0.append(seconds: micros) }
    #expect(written == says)
  }
}
