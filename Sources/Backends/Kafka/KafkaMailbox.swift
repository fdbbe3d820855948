import Core
import DequeModule
import Dispatch
import Synchronization

/// What the poll thread and the stream's caller leave for each other.
final class KafkaMailbox: Sendable {
  enum Command {
    case begin([StreamPartition: Int64?], CheckedContinuation<Void, any Error>)
    case release([StreamPartition], CheckedContinuation<Void, any Error>)
  }

  /// What the caller wants of the thread.
  struct Errand {
    var commands: [Command] = []
    var commits: [StreamPartition: Int64] = [:]
    var held: Set<StreamPartition>?
    var isClosing = false
  }

  /// Batches that wait for the caller.
  static let room = 2

  private struct State {
    var events: Deque<StreamEvent> = []
    var batches = 0
    var reader: CheckedContinuation<StreamEvent?, any Error>?
    var errand = Errand()
    var closers: [CheckedContinuation<Void, Never>] = []
    var lag: [StreamLag] = []
    var failure: PlatformError?
    var hasEnded = false
    /// Interrupts the thread's poll; nil when it polls no more.
    var interrupt: (@Sendable () -> Void)?
  }

  private let state = Mutex(State())
  /// Signalled with every change that the thread may wait for.
  private let changes = DispatchSemaphore(value: 0)

  // MARK: The caller's side

  func next() async throws -> StreamEvent? {
    try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { reader in
        let answer: Result<StreamEvent?, any Error>? = state.withLock { state in
          if Task.isCancelled { return .success(nil) }
          if let event = state.events.popFirst() {
            if case .batch = event {
              state.batches -= 1
              wake(state)
            }
            return .success(event)
          }
          if let failure = state.failure { return .failure(failure) }
          if state.hasEnded || state.errand.isClosing { return .success(nil) }
          state.reader = reader
          return nil
        }
        if let answer { reader.resume(with: answer) }
      }
    } onCancel: {
      state.withLock { $0.reader.take() }?.resume(returning: nil)
    }
  }

  func send(_ command: Command) {
    let refused: PlatformError? = state.withLock { state in
      guard !state.hasEnded else { return state.failure ?? Self.closed }
      state.errand.commands.append(command)
      wake(state)
      return nil
    }
    if let refused { command.answer(.failure(refused)) }
  }

  func commit(_ offsets: [StreamOffset]) {
    state.withLock { state in
      for offset in offsets {
        state.errand.commits[offset.partition] = max(
          offset.next, state.errand.commits[offset.partition] ?? 0)
      }
      wake(state)
    }
  }

  func hold(_ partitions: Set<StreamPartition>) {
    state.withLock { state in
      state.errand.held = partitions
      wake(state)
    }
  }

  var lag: [StreamLag] {
    get { state.withLock { $0.lag } }
    set { state.withLock { $0.lag = newValue } }
  }

  /// Ends the thread; `done` is resumed when it has ended.
  func close(_ done: CheckedContinuation<Void, Never>?) {
    let (reader, hasEnded) = state.withLock { state in
      state.errand.isClosing = true
      wake(state)
      if !state.hasEnded, let done { state.closers.append(done) }
      return (state.reader.take(), state.hasEnded)
    }
    reader?.resume(returning: nil)
    if hasEnded { done?.resume() }
  }

  // MARK: The thread's side

  func polls(_ interrupt: (@Sendable () -> Void)?) { state.withLock { $0.interrupt = interrupt } }

  /// Takes what the caller wants.
  func errand() -> Errand {
    state.withLock { state in
      let errand = state.errand
      state.errand = Errand(isClosing: errand.isClosing)
      return errand
    }
  }

  var hasRoom: Bool { state.withLock { $0.batches < Self.room } }

  func post(_ event: StreamEvent) {
    let reader = state.withLock { state in
      if let reader = state.reader.take() { return Optional(reader) }
      if case .batch = event { state.batches += 1 }
      state.events.append(event)
      return nil
    }
    reader?.resume(returning: event)
  }

  /// Takes records of these partitions out of the batches that wait.
  func purge(_ gone: Set<StreamPartition>) {
    state.withLock { state in
      var left: Deque<StreamEvent> = []
      for event in state.events {
        guard case .batch(let batch) = event else {
          left.append(event)
          continue
        }
        let rest = batch.without(gone)
        if rest.isEmpty { state.batches -= 1 } else { left.append(.batch(rest)) }
      }
      state.events = left
    }
  }

  /// Waits until the caller has done something, at most so long.
  func wait(_ limit: Duration) {
    _ = changes.wait(timeout: .now() + .microseconds(max(1, Int(limit / .microseconds(1)))))
  }

  func failed(_ failure: PlatformError) {
    let reader = state.withLock { state in
      if state.failure == nil { state.failure = failure }
      return state.events.isEmpty ? state.reader.take() : nil
    }
    reader?.resume(throwing: failure)
  }

  /// The thread is at its end.
  func end() {
    let (reader, failure, commands, closers) = state.withLock { state in
      state.hasEnded = true
      state.interrupt = nil
      state.lag = []
      defer {
        state.closers = []
        state.errand.commands = []
      }
      return (state.reader.take(), state.failure, state.errand.commands, state.closers)
    }
    for command in commands { command.answer(.failure(failure ?? Self.closed)) }
    if let failure { reader?.resume(throwing: failure) } else { reader?.resume(returning: nil) }
    for closer in closers { closer.resume() }
  }

  /// Under the lock, so that the thread's queue cannot go meanwhile.
  private func wake(_ state: borrowing State) {
    state.interrupt?()
    changes.signal()
  }

  static let closed = PlatformError(
    .unavailable, "The Kafka stream is closed; open a new one.", retryable: false)
}

extension KafkaMailbox.Command {
  func answer(_ result: Result<Void, any Error>) {
    switch self {
    case .begin(_, let continuation), .release(_, let continuation):
      continuation.resume(with: result)
    }
  }
}
