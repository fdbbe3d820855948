import Core
import Testing
import Workers

@Suite("Worker state machine")
struct WorkersStateTests {
  typealias Machine = WorkerStateMachine
  typealias Event = Machine.Event
  typealias Action = Machine.Action

  private static let patience = Machine.Patience(
    hello: .seconds(30), heartbeat: .seconds(5), drain: .seconds(10))
  private static let start = Span.seconds(100)

  /// The events that bring a new machine to a state.
  private static func way(to state: Machine.State) -> [Event] {
    switch state {
    case .spawned: []
    case .warming: [.hello]
    case .ready: [.hello, .warmed]
    case .busy: [.hello, .warmed, .sent(task: 1, killAt: .seconds(160))]
    case .draining: [.hello, .warmed, .drain]
    case .gone: [.exited]
    }
  }

  private static func machine(in state: Machine.State) -> Machine {
    var machine = Machine(patience: patience, now: start)
    for event in way(to: state) { _ = machine.handle(event, at: start) }
    return machine
  }

  struct Row: Sendable, CustomTestStringConvertible {
    var from: Machine.State
    var event: Event
    var seconds: Int64 = 0
    var actions: [Action]
    var to: Machine.State

    var testDescription: String { "\(from) \(event) after \(seconds) s" }
  }

  static let table: [Row] = [
    Row(from: .spawned, event: .hello, actions: [.welcome, .warm], to: .warming),
    Row(from: .spawned, event: .exited, actions: [.release(expected: false)], to: .gone),
    Row(from: .spawned, event: .tick, seconds: 30, actions: [], to: .spawned),
    Row(
      from: .spawned, event: .tick, seconds: 31,
      actions: [.kill(.noHello), .release(expected: false)], to: .gone),
    Row(
      from: .spawned, event: .drain, actions: [.kill(.notNeeded), .release(expected: true)],
      to: .gone),
    Row(from: .warming, event: .warmed, actions: [.takeTask], to: .ready),
    Row(from: .warming, event: .sent(task: 4, killAt: nil), actions: [], to: .warming),
    Row(from: .warming, event: .hello, actions: [], to: .warming),
    Row(from: .warming, event: .drain, actions: [.askToDrain], to: .draining),
    Row(
      from: .warming, event: .closed, actions: [.kill(.crashed), .release(expected: false)],
      to: .gone),
    Row(from: .ready, event: .sent(task: 4, killAt: nil), actions: [], to: .busy),
    Row(from: .ready, event: .memoryExceeded, actions: [.askToDrain], to: .draining),
    Row(from: .ready, event: .tick, seconds: 5, actions: [], to: .ready),
    Row(
      from: .ready, event: .tick, seconds: 6,
      actions: [.kill(.silent), .release(expected: false)], to: .gone),
    Row(from: .ready, event: .answered(task: 1), actions: [], to: .ready),
    Row(from: .busy, event: .answered(task: 1), actions: [.takeTask], to: .ready),
    Row(from: .busy, event: .answered(task: 9), actions: [], to: .busy),
    Row(from: .busy, event: .memoryExceeded, actions: [.askToDrain], to: .draining),
    Row(from: .busy, event: .drain, actions: [.askToDrain], to: .draining),
    Row(
      from: .busy, event: .closed,
      actions: [.kill(.crashed), .lost(task: 1), .release(expected: false)], to: .gone),
    Row(
      from: .busy, event: .tick, seconds: 60,
      actions: [.kill(.deadline), .lost(task: 1), .release(expected: false)], to: .gone),
    Row(
      from: .busy, event: .end(.notNeeded, expected: true),
      actions: [.kill(.notNeeded), .lost(task: 1), .release(expected: true)], to: .gone),
    Row(from: .draining, event: .closed, actions: [.release(expected: true)], to: .gone),
    Row(from: .draining, event: .drain, actions: [], to: .draining),
    Row(from: .gone, event: .hello, actions: [], to: .gone),
    Row(from: .gone, event: .closed, actions: [], to: .gone),
  ]

  @Test("every event in every state does what the table says", arguments: table)
  func follows(row: Row) {
    var machine = Self.machine(in: row.from)
    let now = Span(microseconds: Self.start.microseconds + row.seconds * 1_000_000)
    #expect(machine.handle(row.event, at: now) == row.actions)
    #expect(machine.state == row.to)
  }

  @Test("frames keep a worker alive, and its drain has an end all the same")
  func drainEnds() {
    var machine = Self.machine(in: .draining)
    for second in 101...110 { _ = machine.handle(.heartbeat, at: .seconds(Int64(second))) }
    #expect(machine.handle(.tick, at: .seconds(110)) == [])
    _ = machine.handle(.heartbeat, at: .seconds(111))
    #expect(
      machine.handle(.tick, at: .seconds(111)) == [.kill(.notDrained), .release(expected: true)])
  }

  @Test("a task that was sent while models are loaded asks for the next load when answered")
  func warmsOneByOne() {
    var machine = Self.machine(in: .warming)
    _ = machine.handle(.sent(task: 4, killAt: nil), at: Self.start)
    #expect(machine.handle(.warmed, at: Self.start) == [])
    #expect(machine.handle(.answered(task: 4), at: Self.start) == [.warm])
    #expect(machine.handle(.warmed, at: Self.start) == [.takeTask])
  }

  @Test("a process that has ended is given a moment for what is still in its socket")
  func answerAfterExit() {
    var machine = Self.machine(in: .busy)
    #expect(machine.handle(.exited, at: .seconds(101)) == [])
    #expect(machine.handle(.tick, at: .seconds(102)) == [])
    #expect(machine.handle(.answered(task: 1), at: .seconds(102)) == [.takeTask])
    #expect(
      machine.handle(.tick, at: .seconds(103)) == [.kill(.crashed), .release(expected: false)])
  }

  @Test("the back-off doubles up to its bound and lies between half and whole")
  func backsOff() {
    let backoff = RestartBackoff(first: .milliseconds(100), longest: .seconds(3))
    let whole = (1...7).map { backoff.delay(failures: $0, chance: 1).microseconds / 1_000 }
    #expect(whole == [100, 200, 400, 800, 1_600, 3_000, 3_000])
    #expect(backoff.delay(failures: 1, chance: 0) == .milliseconds(50))
    #expect(backoff.delay(failures: 10_000, chance: 1) == .seconds(3))
  }

  @Test("above its share the platform grows no more and starts the largest idle worker anew")
  func guardsMemory() {
    let workers = [
      MemoryGuard.Candidate(worker: WorkerID(number: 1), bytes: 300, idle: true),
      MemoryGuard.Candidate(worker: WorkerID(number: 2), bytes: 500, idle: false),
      MemoryGuard.Candidate(worker: WorkerID(number: 3), bytes: 400, idle: true),
    ]
    #expect(MemoryGuard.judge(workers, own: 100, limit: 1_300) == .fine)
    #expect(
      MemoryGuard.judge(workers, own: 101, limit: 1_300) == .full(recycle: WorkerID(number: 3)))
    #expect(MemoryGuard.judge([workers[1]], own: 900, limit: 1_300) == .full(recycle: nil))
  }
}
