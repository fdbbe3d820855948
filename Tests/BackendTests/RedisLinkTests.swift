import Core
import RedisBackend
import TestKit
import Testing

/// The state machine of a connection: calls are numbers, replies are texts, times are microseconds.
@Suite struct RedisLinkTests {
  private typealias Machine = LinkStateMachine<Int, String>
  private static let backoff = Backoff(shortest: .milliseconds(50), longest: .seconds(1))

  private func ready(limit: Int = 3, waiting: Int = 2) -> Machine {
    var machine = Machine(limit: limit, waitingLimit: waiting)
    _ = machine.submit(0, commands: 1, deadline: 1_000, now: 0)
    machine.connected(now: 0)
    _ = machine.takeSendable()
    _ = machine.received("hello", now: 0)
    return machine
  }

  @Test func `the first call connects, and calls wait until the connection is there`() {
    var machine = Machine(limit: 8, waitingLimit: 8)
    #expect(
      machine.submit(1, commands: 2, deadline: 9, now: 0) == .taken(connect: true, flush: false))
    #expect(
      machine.submit(2, commands: 1, deadline: 9, now: 0) == .taken(connect: false, flush: false))
    #expect(machine.takeSendable() == [])
    machine.connected(now: 0)
    #expect(machine.takeSendable() == [1, 2])
    #expect(machine.inFlight == 3)
  }

  @Test func `replies belong to the calls in their order, and a call is answered whole`() {
    var machine = ready()
    _ = machine.submit(1, commands: 2, deadline: 9, now: 0)
    _ = machine.submit(2, commands: 1, deadline: 9, now: 0)
    #expect(machine.takeSendable() == [1, 2])
    #expect(machine.received("a", now: 1).answered == nil)
    let first = machine.received("b", now: 1)
    #expect(first.answered?.ticket == 1)
    #expect(first.answered?.replies == ["a", "b"])
    #expect(machine.received("c", now: 1).answered?.ticket == 2)
    #expect(machine.inFlight == 0)
    #expect(!machine.received("d", now: 1).isExpected)
  }

  @Test func `no more commands are in flight than the limit, and no more wait than theirs`() {
    var machine = ready(limit: 3, waiting: 2)
    #expect(
      machine.submit(1, commands: 2, deadline: 9, now: 0) == .taken(connect: false, flush: true))
    #expect(machine.takeSendable() == [1])
    _ = machine.submit(2, commands: 2, deadline: 9, now: 0)
    #expect(machine.takeSendable() == [])
    #expect(machine.submit(3, commands: 2, deadline: 9, now: 0) == .refused(.full))
    #expect(!machine.hasSendable)
    _ = machine.received("a", now: 1)
    #expect(machine.hasSendable)
    #expect(machine.takeSendable() == [2])
    #expect(
      machine.submit(4, commands: 1, deadline: 9, now: 0) == .taken(connect: false, flush: false))
  }

  @Test func `a call that is larger than the limit goes alone`() {
    var machine = ready(limit: 2, waiting: 9)
    _ = machine.submit(1, commands: 5, deadline: 9, now: 0)
    _ = machine.submit(2, commands: 1, deadline: 9, now: 0)
    #expect(machine.takeSendable() == [1])
    for _ in 0..<5 { _ = machine.received("x", now: 1) }
    #expect(machine.takeSendable() == [2])
  }

  @Test func `a call whose time has passed fails, and its late replies are swallowed`() {
    var machine = ready()
    _ = machine.submit(1, commands: 1, deadline: 100, now: 0)
    _ = machine.submit(2, commands: 1, deadline: 200, now: 100)
    _ = machine.takeSendable()
    #expect(machine.nextDeadline == 100)
    let expired = machine.expire(now: 100, timeout: 100)
    #expect(expired.failed.map(\.ticket) == [1])
    #expect(expired.failed.map(\.wasSent) == [true])
    #expect(machine.nextDeadline == 200)
    #expect(machine.received("late", now: 150).answered == nil)
    #expect(machine.received("b", now: 160).answered?.ticket == 2)
  }

  @Test func `a server that said nothing for the whole time is given up, a slow one is not`() {
    var machine = ready()
    _ = machine.submit(1, commands: 1, deadline: 1_100, now: 1_000)
    _ = machine.takeSendable()
    #expect(machine.expire(now: 1_100, timeout: 100).isSilent)
    var slow = ready()
    _ = slow.submit(1, commands: 2, deadline: 1_100, now: 1_000)
    _ = slow.takeSendable()
    _ = slow.received("half", now: 1_050)
    let expired = slow.expire(now: 1_100, timeout: 100)
    #expect(expired.failed.map(\.ticket) == [1])
    #expect(!expired.isSilent)
  }

  @Test func `a call that waits for room has its time too`() {
    var machine = ready(limit: 1, waiting: 4)
    _ = machine.submit(1, commands: 1, deadline: 500, now: 0)
    _ = machine.takeSendable()
    _ = machine.submit(2, commands: 1, deadline: 100, now: 0)
    #expect(machine.nextDeadline == 100)
    let expired = machine.expire(now: 100, timeout: 100)
    #expect(expired.failed.map(\.wasSent) == [false])
    #expect(!machine.hasSendable)
  }

  @Test func `a lost connection fails what was sent and keeps what was not`() {
    var machine = ready(limit: 1, waiting: 4)
    _ = machine.submit(1, commands: 1, deadline: 9, now: 0)
    _ = machine.takeSendable()
    _ = machine.submit(2, commands: 1, deadline: 9, now: 0)
    let closed = machine.closed()
    #expect(closed.failed == [1])
    #expect(closed.connect)
    machine.connected(now: 0)
    #expect(machine.takeSendable() == [2])
    var idle = ready()
    #expect(idle.closed().connect == false)
    #expect(
      idle.submit(3, commands: 1, deadline: 9, now: 0) == .taken(connect: true, flush: false))
  }

  @Test func `after a failed attempt calls fail at once until the back-off has passed`() {
    var machine = Machine(limit: 8, waitingLimit: 8)
    var random = SeededGenerator(seed: 1)
    _ = machine.submit(1, commands: 1, deadline: 9, now: 0)
    #expect(machine.connectFailed(now: 0, backoff: Self.backoff, using: &random) == [1])
    guard case .down(let until) = machine.phase else {
      Issue.record("\(machine.phase)")
      return
    }
    #expect((25_000...50_000).contains(until))
    #expect(
      machine.submit(2, commands: 1, deadline: 9, now: until - 7)
        == .refused(.down(Span(microseconds: 7))))
    #expect(
      machine.submit(3, commands: 1, deadline: 9, now: until) == .taken(connect: true, flush: false)
    )
    #expect(machine.connectFailed(now: until, backoff: Self.backoff, using: &random) == [3])
    guard case .down(let later) = machine.phase else {
      Issue.record("\(machine.phase)")
      return
    }
    #expect((50_000...100_000).contains(later - until))
  }

  @Test func `a stopped link fails everything and takes nothing`() {
    var machine = ready(limit: 1, waiting: 4)
    _ = machine.submit(1, commands: 1, deadline: 9, now: 0)
    _ = machine.takeSendable()
    _ = machine.submit(2, commands: 1, deadline: 9, now: 0)
    #expect(machine.stop() == [1, 2])
    #expect(machine.submit(3, commands: 1, deadline: 9, now: 0) == .refused(.stopped))
    #expect(!machine.closed().connect)
  }

  @Test func `back-off doubles up to its bound and leaves out a random half`() {
    var random = SeededGenerator(seed: 7)
    for (attempt, bound) in [(0, 50), (1, 100), (2, 200), (4, 800), (5, 1_000), (60, 1_000)] {
      let delays = (0..<200).map { _ in
        Self.backoff.delay(after: attempt, using: &random).microseconds
      }
      #expect(delays.allSatisfy { (Int64(bound) * 500...Int64(bound) * 1_000).contains($0) })
      #expect(Set(delays).count > 100)
    }
  }
}
