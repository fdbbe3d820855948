import Core
import Testing
import Workers

/// The roster's batching, priorities and numbers of workers.
@Suite("Worker dispatch")
struct WorkersDispatchTests {
  private typealias House = WorkersRosterTests.House

  private func rule(_ change: (inout ServingDefinition) -> Void) -> [String: ServingDefinition] {
    var rule = ServingDefinition()
    change(&rule)
    return ["m": rule]
  }

  private func follow(_ house: House, _ change: (inout ServingDefinition) -> Void) {
    house.take(house.roster.follow(rule(change), now: house.now))
  }

  private func error(_ house: House, _ item: UInt64) -> PlatformError? {
    guard case .failure(let error)? = house.answers[item] else { return nil }
    return error
  }

  @Test("a batch holds the rows that the definition allows")
  func rowsOfDefinition() {
    let house = House()
    let worker = house.serve()
    follow(house) { $0.batch.rows = 3 }
    _ = house.predict()
    let waiting = (0..<5).map { _ in house.predict() }
    house.answer(worker)
    #expect(house.flights[worker]?.items.map(\.id) == Array(waiting.prefix(3)))
  }

  @Test("with a wait, callers who came together before go together again, and a lone one at once")
  func gathers() {
    let house = House()
    let worker = house.serve()
    follow(house) { $0.batch.wait = .milliseconds(5) }
    let alone = house.predict()
    #expect(house.flights[worker]?.items.map(\.id) == [alone])
    let others = (0..<2).map { _ in house.predict() }
    house.answer(worker)
    #expect(house.flights[worker] == nil, "they wait for the third caller")
    #expect(house.wakes.last == Span(microseconds: house.now.microseconds + 5_000))
    let back = house.predict()
    #expect(house.flights[worker]?.items.map(\.id) == others + [back])
    house.answer(worker)
    let late = house.predict()
    #expect(house.flights[worker] == nil)
    house.now = house.wakes[house.wakes.count - 1]
    house.take(house.roster.woken(now: house.now))
    #expect(house.flights[worker]?.items.map(\.id) == [late], "nobody waits longer than allowed")
  }

  @Test("a call goes to the free worker that holds the fewest versions")
  func leastLoaded() {
    let house = House(workers: 3)
    house.assign(1, count: 2)
    for worker in house.spawned { house.hello(worker) }
    for worker in house.spawned { house.answer(worker) }
    // No third process may serve: the second version is beside the first in one of them.
    house.assign(100)
    let shared = house.spawned.first { house.flights[$0] != nil }
    for worker in house.spawned { house.answer(worker) }
    let item = house.predict(1)
    let other = house.spawned.first { $0 != shared }
    #expect(other.flatMap { house.flights[$0]?.items.map(\.id) } == [item])
  }

  @Test("of the workers that must be shared the one that takes the least memory is")
  func sharesByMemory() {
    let house = House(workers: 3)
    house.assign(1)
    house.assign(2)
    for worker in house.spawned { house.hello(worker) }
    for worker in house.spawned { house.answer(worker) }
    house.assign(3)
    let large = house.spawned.first { house.flights[$0] != nil }
    for worker in house.spawned { house.answer(worker) }
    // The one that has two versions already is the smaller one.
    for worker in house.spawned {
      let memory = worker == large ? 100 << 20 : 900 << 20
      house.take(house.roster.heartbeat(worker, memory: memory, now: house.now))
    }
    house.assign(4)
    #expect(house.spawned.first { house.flights[$0] != nil } == large)
  }

  @Test("a call of high priority goes before those that wait, and one of low priority last")
  func priorities() {
    let house = House()
    let worker = house.serve()
    follow(house) { $0.batch.rows = 1 }
    _ = house.predict()
    let low = house.predict(priority: .low)
    let normal = house.predict()
    let high = house.predict(priority: .high)
    for expected in [high, normal, low] {
      house.answer(worker)
      #expect(house.flights[worker]?.items.map(\.id) == [expected])
    }
  }

  @Test("a full queue refuses, by the measured rate, and lets a more important call in")
  func full() {
    let house = House()
    let worker = house.serve()
    follow(house) {
      $0.queue = 4
      $0.batch.rows = 1
    }
    // Ten answers a second.
    for _ in 0..<100 {
      _ = house.predict()
      house.now = Span(microseconds: house.now.microseconds + 100_000)
      house.answer(worker)
    }
    _ = house.predict()
    let waiting = (0..<3).map { _ in house.predict() } + [house.predict(priority: .low)]
    let refused = house.predict()
    #expect(error(house, waiting[3])?.code == .overloaded, "the low one made room")
    #expect(house.answers[refused] == nil)
    let last = house.predict()
    let overload = error(house, last)
    #expect(overload?.code == .overloaded)
    let wait = overload?.retryAfter ?? .seconds(0)
    #expect(wait >= .milliseconds(350) && wait <= .milliseconds(450), "4 calls at 10/s: \(wait)")
    #expect(overload?.message.contains("retry in") == true)
  }

  @Test("a call whose time has passed is answered so and never sent")
  func lateIsNeverSent() {
    let house = House()
    let worker = house.serve()
    _ = house.predict()
    let short = house.predict(timeout: .milliseconds(10))
    let long = house.predict()
    // No tick has come between: the worker's answer alone must not send it.
    house.now = Span(microseconds: house.now.microseconds + 10_000)
    house.answer(worker)
    #expect(error(house, short)?.code == .deadlineExceeded)
    #expect(house.flights[worker]?.items.map(\.id) == [long])
    let dead = house.predict(timeout: .milliseconds(0))
    #expect(error(house, dead)?.code == .deadlineExceeded)
  }

  // MARK: Scaling

  private static let plenty = (own: 0, limit: 1 << 40)

  /// Lets seconds pass in which every call waits half a second.
  private func press(_ house: House, seconds: Int) {
    for _ in 0..<seconds {
      for _ in 0..<20 { _ = house.predict() }
      house.now = Span(microseconds: house.now.microseconds + 500_000)
      for worker in house.spawned { house.answer(worker) }
      house.now = Span(microseconds: house.now.microseconds + 500_000)
      for worker in house.spawned {
        house.take(house.roster.heartbeat(worker, memory: 1, now: house.now))
      }
      house.take(house.roster.tick(now: house.now, memory: Self.plenty))
    }
  }

  @Test("calls that wait bring another worker, and why is said; calm takes it away again")
  func scales() {
    let house = House()
    let first = house.serve()
    follow(house) {
      $0.batch.rows = 1
      $0.workers.maximum = 2
    }
    press(house, seconds: 6)
    #expect(house.spawned.count == 2)
    #expect(house.scaled.map(\.workers) == [2])
    #expect(house.scaled.first?.why.contains("95th percentile") == true)
    let second = house.spawned[1]
    house.hello(second)
    house.answer(second)
    for _ in 0..<200 { for worker in [first, second] { house.answer(worker) } }
    for _ in 0..<100 {
      for worker in [first, second] {
        house.take(house.roster.heartbeat(worker, memory: 1, now: house.now))
      }
      if house.drained == [second] { house.take(house.roster.closed(second, now: house.now)) }
      house.now = Span(microseconds: house.now.microseconds + 1_000_000)
      house.take(house.roster.tick(now: house.now, memory: Self.plenty))
    }
    #expect(house.scaled.map(\.workers) == [2, 1])
    #expect(house.drained == [second], "the youngest goes")
    #expect(house.killed.isEmpty)
  }

  @Test("never more workers than are allowed, whatever the definition says")
  func isBounded() {
    let house = House(workers: 2)
    _ = house.serve()
    follow(house) {
      $0.batch.rows = 1
      $0.workers.maximum = 8
    }
    press(house, seconds: 60)
    #expect(house.spawned.count == 1, "one place stays for transforms and training")
    #expect(house.warnings.count == 0, "the maximum is what may be: \(house.warnings)")
  }

  @Test("above the memory share no worker is added, and that is said once")
  func noMemory() {
    let house = House()
    let worker = house.serve()
    follow(house) {
      $0.batch.rows = 1
      $0.workers.maximum = 2
    }
    for _ in 0..<60 {
      for _ in 0..<20 { _ = house.predict() }
      house.now = Span(microseconds: house.now.microseconds + 1_000_000)
      house.take(house.roster.heartbeat(worker, memory: 600, now: house.now))
      house.take(house.roster.tick(now: house.now, memory: (own: 10, limit: 1_000)))
      house.answer(worker)
    }
    #expect(house.spawned.count == 1)
    #expect(house.warnings.filter { $0.contains("no room for it: the memory") }.count == 1)
  }

  @Test(
    "a definition that wants more workers gets them, and a version that replaces another as many")
  func minimum() {
    let house = House()
    _ = house.serve()
    follow(house) {
      $0.workers.minimum = 2
      $0.workers.maximum = 2
    }
    house.take(house.roster.tick(now: house.now, memory: Self.plenty))
    #expect(house.spawned.count == 2)
    house.hello(house.spawned[1])
    house.answer(house.spawned[1])
    house.assign(2)
    house.hello(house.spawned[2])
    let loads = house.flights.values.filter {
      if case .load(let artifact) = $0.work { artifact.key == House.key(2) } else { false }
    }
    #expect(loads.count == 2)
  }
}
