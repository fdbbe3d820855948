import Core
import Features
import Testing

@Suite struct IngestQueueTests {
  typealias Queue = CommitQueue<String, Int>

  /// The next taking as text, for tables.
  static func take(_ queue: inout Queue) -> String {
    switch queue.take() {
    case .commit(let pushes, let entered):
      "commit \(pushes.joined())" + (entered.isEmpty ? "" : " entered \(entered.joined())")
    case .exclusive(let work): "exclusive \(work)"
    case .sleep: "sleep"
    case .end: "end"
    }
  }

  @Test func `a lone push wakes the committer and is taken at once`() {
    var queue = Queue(capacity: 10, overload: 20)
    #expect(IngestQueueTests.take(&queue) == "sleep")
    #expect(queue.isAsleep)
    #expect(queue.offer("a", rows: 1, refusable: false) == .queued(wakes: true))
    #expect(!queue.isAsleep)
    #expect(IngestQueueTests.take(&queue) == "commit a")
    #expect(IngestQueueTests.take(&queue) == "sleep")
  }

  @Test func `pushes that come during a commit share the next one`() {
    var queue = Queue(capacity: 10, overload: 20)
    _ = queue.offer("a", rows: 1, refusable: false)
    #expect(IngestQueueTests.take(&queue) == "commit a")
    for push in ["b", "c", "d"] {
      #expect(queue.offer(push, rows: 1, refusable: false) == .queued(wakes: false))
    }
    #expect(IngestQueueTests.take(&queue) == "commit bcd")
  }

  @Test func `a full queue parks producers and lets them in by order`() {
    var queue = Queue(capacity: 10, overload: 1_000)
    #expect(queue.offer("a", rows: 8, refusable: false) == .queued(wakes: false))
    #expect(queue.offer("b", rows: 5, refusable: false) == .parked)
    // Small enough to fit, but not before its turn.
    #expect(queue.offer("c", rows: 1, refusable: false) == .parked)
    #expect(queue.offer("d", rows: 9, refusable: false) == .parked)
    #expect(queue.waitingRows == 8 && queue.parkedRows == 15)
    #expect(IngestQueueTests.take(&queue) == "commit a entered bc")
    #expect(IngestQueueTests.take(&queue) == "commit bc entered d")
    #expect(IngestQueueTests.take(&queue) == "commit d")
    #expect(queue.waitingRows == 0 && queue.parkedRows == 0)
  }

  @Test func `a push larger than the queue enters an empty one`() {
    var queue = Queue(capacity: 10, overload: 20)
    #expect(queue.offer("a", rows: 500, refusable: true) == .queued(wakes: false))
    #expect(queue.offer("b", rows: 1, refusable: true) == .refused)
    #expect(queue.offer("b", rows: 1, refusable: false) == .parked)
  }

  @Test func `a request is refused past the longer bound, a stream is not`() {
    var queue = Queue(capacity: 10, overload: 20)
    _ = queue.offer("a", rows: 10, refusable: true)
    #expect(queue.offer("b", rows: 10, refusable: true) == .parked)
    #expect(queue.offer("c", rows: 1, refusable: true) == .refused)
    #expect(queue.offer("c", rows: 1, refusable: false) == .parked)
  }

  @Test func `exclusive work and commits take turns`() {
    var queue = Queue(capacity: 10, overload: 20)
    #expect(IngestQueueTests.take(&queue) == "sleep")
    let first = queue.offer(exclusive: 1)
    let second = queue.offer(exclusive: 2)
    #expect(first == true && second == false)
    _ = queue.offer("a", rows: 1, refusable: false)
    #expect(IngestQueueTests.take(&queue) == "exclusive 1")
    #expect(IngestQueueTests.take(&queue) == "commit a")
    #expect(IngestQueueTests.take(&queue) == "exclusive 2")
    #expect(IngestQueueTests.take(&queue) == "sleep")
  }

  @Test func `closing refuses new pushes and keeps those that wait`() {
    var queue = Queue(capacity: 1, overload: 20)
    _ = queue.offer("a", rows: 1, refusable: false)
    _ = queue.offer("b", rows: 1, refusable: false)
    _ = queue.offer(exclusive: 1)
    let wakes = queue.close()
    #expect(!wakes)
    #expect(queue.offer("c", rows: 1, refusable: false) == .closed)
    let late = queue.offer(exclusive: 2)
    #expect(late == nil)
    #expect(IngestQueueTests.take(&queue) == "exclusive 1")
    #expect(IngestQueueTests.take(&queue) == "commit a entered b")
    #expect(IngestQueueTests.take(&queue) == "commit b")
    #expect(IngestQueueTests.take(&queue) == "end")
  }

  @Test func `closing wakes a sleeping committer`() {
    var queue = Queue(capacity: 1, overload: 20)
    #expect(IngestQueueTests.take(&queue) == "sleep")
    let wakes = queue.close()
    #expect(wakes)
    #expect(IngestQueueTests.take(&queue) == "end")
  }

  @Test func `what meets a condition is given back, and the rest keeps its place`() {
    var queue = Queue(capacity: 10, overload: 1_000)
    _ = queue.offer("a", rows: 4, refusable: false)
    _ = queue.offer("B", rows: 4, refusable: false)
    _ = queue.offer("c", rows: 9, refusable: false)
    _ = queue.offer("D", rows: 9, refusable: false)
    _ = queue.offer(exclusive: 1)
    let left = queue.withdraw { $0 == $0.lowercased() }
    #expect(left.pushes == ["a", "c"] && left.exclusives == [1])
    #expect(queue.waitingRows == 4 && queue.parkedRows == 9)
    #expect(IngestQueueTests.take(&queue) == "commit B entered D")
    #expect(IngestQueueTests.take(&queue) == "commit D")
  }

  @Test func `abandoning gives everything back`() {
    var queue = Queue(capacity: 1, overload: 20)
    _ = queue.offer("a", rows: 1, refusable: false)
    _ = queue.offer("b", rows: 1, refusable: false)
    _ = queue.offer(exclusive: 1)
    let left = queue.abandon()
    #expect(left.pushes == ["a", "b"] && left.exclusives == [1])
    #expect(IngestQueueTests.take(&queue) == "end")
  }
}

@Suite struct IngestEventIDIndexTests {
  static let seed = EventIDSeed(low: 0x1234_5678_9ABC_DEF0, high: 0x0FED_CBA9_8765_4321)

  @Test func `the index is a set under inserts and removals`() {
    var index = EventIDIndex()
    var expected: Set<String> = []
    var state: UInt64 = 99
    for step in 0..<60_000 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      let id = "event-\(state >> 50)"
      let hash = EventIDHash(id, seed: IngestEventIDIndexTests.seed)
      if step % 3 == 2 {
        index.remove(hash)
        expected.remove(id)
      } else {
        #expect(index.insert(hash) == expected.insert(id).inserted)
      }
    }
    #expect(index.count == expected.count)
    for number in 0..<(1 << 14) {
      let id = "event-\(number)"
      let hash = EventIDHash(id, seed: IngestEventIDIndexTests.seed)
      #expect(index.contains(hash) == expected.contains(id))
    }
  }

  @Test func `ids of every length differ in their hashes`() {
    var hashes: Set<EventIDHash> = []
    var text = ""
    for number in 0..<300 {
      #expect(hashes.insert(EventIDHash(text, seed: IngestEventIDIndexTests.seed)).inserted)
      #expect(hashes.insert(EventIDHash(text + "\0", seed: IngestEventIDIndexTests.seed)).inserted)
      text += String(UnicodeScalar(UInt8(97 + number % 26)))
    }
    let other = EventIDSeed(low: 1, high: 2)
    #expect(EventIDHash("x", seed: other) != EventIDHash("x", seed: IngestEventIDIndexTests.seed))
  }
}
