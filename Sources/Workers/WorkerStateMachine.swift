import Core

/// The life of one Python process, as a value: events in, actions out, without a clock and without
/// I/O.
///
/// ```
/// spawned ─hello─▶ warming ─warmed─▶ ready ◀─answered─ busy
///    │                │                └──────sent──────▲
///    │                └───────── drain ─────────▶ draining ─closed─▶ gone
///    └── no hello, silence, a passed deadline, a closed socket ──▶ gone
/// ```
/// Guarantees: a task that was sent is either answered or reported `lost`, once; `release` comes
/// once and last.
package struct WorkerStateMachine: Sendable, Equatable {
  package enum State: String, Sendable, CaseIterable {
    /// The process was started and has not said hello.
    case spawned
    /// Accepted; what it is to serve is being loaded.
    case warming
    case ready
    case busy
    /// Finishes what it has and takes nothing new.
    case draining
    case gone
  }

  package enum Event: Sendable, Equatable {
    case hello
    /// Everything it is to serve is loaded.
    case warmed
    case heartbeat
    case sent(task: UInt64, killAt: Span?)
    /// A result or a fault.
    case answered(task: UInt64)
    case drain
    case memoryExceeded
    /// Time has passed; the patience is judged.
    case tick
    /// The socket was closed by the other side.
    case closed
    /// The process has ended.
    case exited
    /// It is to end at once; `expected` says that this is no failure of the worker.
    case end(Reason, expected: Bool)
  }

  package enum Reason: String, Sendable, Equatable {
    case noHello = "it did not say hello in time"
    case silent = "it sent no heartbeat in time (user code may hang while it holds the interpreter)"
    case deadline = "its task was still running after the deadline"
    case crashed = "it closed the connection or ended"
    case notDrained = "it did not finish in time when asked to"
    case notLoading = "it could not load a model that it is to serve"
    case notNeeded = "it is not needed any more"
  }

  package enum Action: Sendable, Equatable {
    case welcome
    /// Load what is not loaded yet, then report `warmed`.
    case warm
    /// It can take a task.
    case takeTask
    case askToDrain
    case kill(Reason)
    /// The task will never be answered.
    case lost(task: UInt64)
    /// The process counts no more; `expected` says that it was asked to go.
    case release(expected: Bool)
  }

  /// How long is waited for what.
  package struct Patience: Sendable, Equatable {
    package var hello: Span
    package var heartbeat: Span
    package var drain: Span

    package init(hello: Span, heartbeat: Span, drain: Span) {
      self.hello = hello
      self.heartbeat = heartbeat
      self.drain = drain
    }
  }

  package private(set) var state = State.spawned
  package private(set) var task: UInt64?
  private let patience: Patience
  private var killAt: Span?
  /// When the state began that has a limit, or when the last frame came.
  private var lastSeen: Span
  private var drainingSince: Span?
  private var exitedAt: Span?

  package init(patience: Patience, now: Span) {
    self.patience = patience
    lastSeen = now
  }

  package mutating func handle(_ event: Event, at now: Span) -> [Action] {
    switch (state, event) {
    case (.gone, _): return []
    case (_, .end(let reason, let expected)): return end(expected: expected, killing: reason)
    case (.spawned, .hello):
      lastSeen = now
      state = .warming
      return [.welcome, .warm]
    case (.spawned, .exited), (.spawned, .closed): return end(expected: false)
    case (.spawned, .drain), (.spawned, .memoryExceeded):
      return end(expected: true, killing: .notNeeded)
    case (.warming, .warmed) where task == nil:
      state = .ready
      return [.takeTask]
    case (.warming, .sent(let id, let limit)), (.ready, .sent(let id, let limit)):
      task = id
      killAt = limit
      if state == .ready { state = .busy }
      return []
    case (_, .answered(let id)): return answered(id, at: now)
    case (.draining, .drain), (.draining, .memoryExceeded): return []
    case (_, .drain), (.ready, .memoryExceeded), (.busy, .memoryExceeded):
      state = .draining
      drainingSince = now
      return [.askToDrain]
    case (_, .heartbeat):
      lastSeen = now
      return []
    case (_, .closed): return closed()
    case (_, .exited):
      // The answer may still be in the socket; `closed` follows when it was read.
      exitedAt = now
      return []
    case (_, .tick): return tick(now)
    case (_, .hello), (_, .warmed), (_, .sent), (_, .memoryExceeded): return []
    }
  }

  private mutating func answered(_ id: UInt64, at now: Span) -> [Action] {
    guard id == task else { return [] }
    lastSeen = now
    task = nil
    killAt = nil
    switch state {
    case .busy:
      state = .ready
      return [.takeTask]
    case .warming: return [.warm]
    case .spawned, .ready, .draining, .gone: return []
    }
  }

  private mutating func closed() -> [Action] {
    if state == .draining, task == nil { return end(expected: true) }
    return end(expected: false, killing: .crashed)
  }

  private mutating func tick(_ now: Span) -> [Action] {
    if let exitedAt, since(exitedAt, now) > .seconds(1) { return closed() }
    if let killAt, now >= killAt { return end(expected: false, killing: .deadline) }
    if let drainingSince, since(drainingSince, now) > patience.drain {
      return end(expected: true, killing: .notDrained)
    }
    switch state {
    case .spawned where since(lastSeen, now) > patience.hello:
      return end(expected: false, killing: .noHello)
    case .warming, .ready, .busy, .draining:
      guard since(lastSeen, now) > patience.heartbeat else { return [] }
      return end(expected: false, killing: .silent)
    case .spawned, .gone: return []
    }
  }

  private mutating func end(expected: Bool, killing reason: Reason? = nil) -> [Action] {
    var actions: [Action] = []
    if let reason { actions.append(.kill(reason)) }
    if let task { actions.append(.lost(task: task)) }
    actions.append(.release(expected: expected))
    state = .gone
    task = nil
    return actions
  }

  private func since(_ start: Span, _ now: Span) -> Span {
    Span(microseconds: now.microseconds - start.microseconds)
  }
}
