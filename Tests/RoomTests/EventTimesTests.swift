import Core
import Features
import Testing

@Suite struct EventTimesTests {
  private static let minute: Int64 = 60_000_000

  @Test("what is dated ahead counts from its time on, to the minute")
  func comes() {
    var times = EventTimes([5, 3], now: 10)
    times.note(2 * Self.minute + 7, now: 10)
    times.note(2 * Self.minute + 9, now: 10)
    times.note(4 * Self.minute, now: 10)
    #expect(times.newest(at: 10) == 5)
    #expect(times.newest(at: 2 * Self.minute + 7) == 2 * Self.minute + 7)
    // The second of that minute is not remembered.
    #expect(times.newest(at: 3 * Self.minute) == 2 * Self.minute + 7)
    #expect(times.newest(at: .max) == 4 * Self.minute)
    #expect(times.last == 4 * Self.minute)
  }

  @Test("nothing has come yet where all is dated ahead")
  func none() {
    #expect(EventTimes().newest(at: 0) == nil)
    #expect(EventTimes([20], now: 10).newest(at: 19) == nil)
  }

  @Test("the nearest minutes are kept, however many events are dated ahead")
  func bounded() {
    let count = Int64(Limits.futureMinutes)
    var times = EventTimes((1...3 * count).reversed().map { $0 * Self.minute }, now: 0)
    #expect(times.newest(at: count * Self.minute) == count * Self.minute)
    #expect(times.newest(at: 3 * count * Self.minute) == count * Self.minute)
    times.note(.max, now: 0)
    #expect(times.last == .max)
  }

  @Test(
    "merging gives what noting all of them gives, in any order", arguments: [1, 2, 3] as [UInt64])
  func merges(seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    let all = (0..<500).map { _ in Int64.random(in: -40...40, using: &random) * Self.minute / 3 }
    let whole = EventTimes(all, now: 0)
    var parts = EventTimes(all[300...], now: 0)
    parts.merge(EventTimes(all[..<300].shuffled(using: &random), now: 0))
    #expect(parts == whole)
  }
}
