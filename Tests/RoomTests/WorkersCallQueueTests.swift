import Core
import Testing
import Workers

@Suite("Calls that wait for a worker")
struct WorkersCallQueueTests {
  private static func item(
    _ id: UInt64, _ priority: CallPriority = .normal, at: Span = .seconds(0),
    deadline: Span = .seconds(60)
  ) -> WorkItem {
    let rows = ColumnBatch(columns: [Column(name: "x", values: .double([1]))])
    return WorkItem(
      id: id, task: .predict(ModelKey(model: "m", version: 1), rows: rows), queuedAt: at,
      deadline: deadline, priority: priority, reply: { _ in })
  }

  private func drain(_ queue: CallQueue, now: Span = .seconds(1)) -> [UInt64] {
    var queue = queue
    var late: [WorkItem] = []
    var ids: [UInt64] = []
    while let item = queue.next(now: now, late: &late) { ids.append(item.id) }
    return ids
  }

  private func queue(_ items: [WorkItem]) -> CallQueue {
    var queue = CallQueue()
    for item in items { queue.append(item) }
    return queue
  }

  @Test("calls that came together go by priority, those of one priority in their order")
  func byPriority() {
    let queue = queue([
      Self.item(1, .low), Self.item(2), Self.item(3, .high), Self.item(4), Self.item(5, .high),
    ])
    #expect(drain(queue) == [3, 5, 2, 4, 1])
  }

  @Test(
    "a call that has waited long enough goes before calls of any higher priority that came later")
  func nothingStarves() {
    let handicap = CallQueue.handicap(.low)
    var items = [Self.item(1, .low, at: .seconds(10))]
    // One of high priority every 100 ms, as if it never ended.
    for step in UInt64(0)..<40 {
      let at = Span(microseconds: 10_000_000 + Int64(step) * 100_000)
      items.append(Self.item(100 + step, .high, at: at))
    }
    let order = drain(queue(items), now: .seconds(15))
    let place = order.firstIndex(of: 1) ?? .max
    // Those that came within its handicap go first, and no other.
    #expect(place == Int(handicap.microseconds / 100_000) + 1)
  }

  @Test("what is too late is put aside and never given out")
  func late() {
    var waiting = queue([
      Self.item(1, deadline: .seconds(5)), Self.item(2), Self.item(3, .high, deadline: .seconds(5)),
    ])
    var late: [WorkItem] = []
    #expect(waiting.next(now: .seconds(5), late: &late)?.id == 2)
    #expect(late.map(\.id) == [3, 1])
    #expect(waiting.isEmpty && waiting.rows == 0)
  }

  @Test("the last call of the lowest priority makes room, and only for a higher one")
  func displaces() {
    var waiting = queue([Self.item(1), Self.item(2, .low), Self.item(3, .low), Self.item(4)])
    #expect(waiting.displace(below: .low) == nil)
    #expect(waiting.displace(below: .normal)?.id == 3)
    #expect(waiting.displace(below: .high)?.id == 2)
    #expect(waiting.displace(below: .high)?.id == 4)
    #expect(waiting.displace(below: .normal) == nil)
    #expect(drain(waiting) == [1])
  }

  @Test("a call is taken out by its number, and rows and calls are counted")
  func removes() {
    var waiting = queue([Self.item(1), Self.item(2, .low)])
    #expect(waiting.remove(2)?.id == 2)
    #expect(waiting.remove(2) == nil)
    #expect(waiting.count == 1 && waiting.rows == 1)
    #expect(waiting.removeAll().map(\.id) == [1])
    #expect(waiting.isEmpty)
  }

  @Test("the time to come again is what the measured rate says, within bounds")
  func drainRate() {
    var rate = DrainRate()
    #expect(rate.time(toAnswer: 10, now: .seconds(0)) == .seconds(1), "nothing is known yet")
    // 100 answers a second.
    for step in Int64(0)...1_000 { rate.note(answered: 1, now: .milliseconds(step * 10)) }
    let time = rate.time(toAnswer: 200, now: .seconds(10))
    #expect(time > .milliseconds(1_900) && time < .milliseconds(2_100), "\(time)")
    // Nothing more is answered: the longer that lasts, the later it is worth a try.
    let later = rate.time(toAnswer: 200, now: .seconds(20))
    #expect(later > .milliseconds(3_900), "\(later)")
    #expect(rate.time(toAnswer: 1_000_000_000, now: .seconds(20)) == .seconds(60))
    #expect(rate.time(toAnswer: 0, now: .seconds(10)) == .milliseconds(10))
  }

  @Test("a caller who is alone is never kept waiting; those who come together are, up to the bound")
  func gathers() {
    var batch = ServingDefinition.Batch()
    batch.wait = .milliseconds(5)
    batch.rows = 8
    var gathering = BatchGathering()
    let start = Span.seconds(100)
    func isDue(_ outstanding: Int, rows: Int, after milliseconds: Int64 = 0) -> Bool {
      gathering.isDue(
        outstanding: outstanding, rows: rows, oldest: start, batch,
        now: Span(microseconds: start.microseconds + milliseconds * 1_000))
    }
    gathering.note(outstanding: 1, wait: batch.wait, now: start)
    #expect(isDue(1, rows: 1))
    gathering.note(outstanding: 4, wait: batch.wait, now: start)
    #expect(!isDue(1, rows: 1))
    #expect(!isDue(3, rows: 3))
    #expect(isDue(4, rows: 4), "all who were there are there again")
    #expect(isDue(3, rows: 8), "the batch is full")
    #expect(isDue(1, rows: 1, after: 5), "never longer than allowed")
    // After two stretches of time alone the others are forgotten.
    for milliseconds in [Int64(150), 300] {
      gathering.note(
        outstanding: 1, wait: batch.wait,
        now: Span(microseconds: start.microseconds + milliseconds * 1_000))
    }
    #expect(isDue(1, rows: 1, after: 0))
  }
}
