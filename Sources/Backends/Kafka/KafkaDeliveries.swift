import Core
import DequeModule
import Synchronization

/// The records of one call of `produce`, until the last is delivered.
final class KafkaProduceCall: Sendable {
  private struct State {
    var places: [StreamOffset?]
    var left: Int
    var failure: (any Error)?
    var isCancelled = false
    var waiting: CheckedContinuation<[StreamOffset], any Error>?

    var outcome: Result<[StreamOffset], any Error>? {
      if left > 0 { return isCancelled ? .failure(CancellationError()) : nil }
      return failure.map { .failure($0) } ?? .success(places.compactMap { $0 })
    }
  }

  private let state: Mutex<State>

  init(_ count: Int) {
    state = Mutex(State(places: Array(repeating: nil, count: count), left: count))
  }

  func settle(_ index: Int, _ result: Result<StreamOffset, any Error>) {
    change { state in
      state.left -= 1
      switch result {
      case .success(let place): state.places[index] = place
      case .failure(let error): if state.failure == nil { state.failure = error }
      }
    }
  }

  /// Where the records are; throws as soon as the task is cancelled.
  func places() async throws -> [StreamOffset] {
    try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { continuation in
        change { $0.waiting = continuation }
      }
    } onCancel: {
      change { $0.isCancelled = true }
    }
  }

  /// Changes the state, and answers who waits where it is time.
  private func change(_ body: (inout State) -> Void) {
    let (waiting, outcome) = state.withLock { state in
      body(&state)
      let outcome = state.outcome
      return (outcome == nil ? nil : state.waiting.take(), outcome)
    }
    if let waiting, let outcome { waiting.resume(with: outcome) }
  }
}

/// What is on its way, bounded.
final class KafkaDeliveries: Sendable {
  private struct Entrant {
    let id: UInt
    let count: Int
    let continuation: CheckedContinuation<Void, any Error>
  }

  private struct State {
    var free: Int
    var calls = 0
    var entering: Deque<Entrant> = []
    var underWay: [UInt: (call: KafkaProduceCall, index: Int)] = [:]
    var nextID: UInt = 1
    /// How many deliveries there have been.
    var seen = 0
    var watching: [UInt: CheckedContinuation<Void, any Error>] = [:]

    mutating func newID() -> UInt {
      defer { nextID += 1 }
      return nextID
    }

    /// Those that there is room for now, in the order in which they came.
    mutating func admit() -> [Entrant] {
      var admitted: [Entrant] = []
      while let first = entering.first, first.count <= free {
        free -= first.count
        admitted.append(entering.removeFirst())
      }
      return admitted
    }
  }

  static let full = PlatformError(
    .overloaded,
    "More records wait for the brokers than the producer holds, so nothing of these was produced; send again in a second.",
    retryAfter: .seconds(1))

  let capacity: Int
  private let maximumCalls: Int
  private let state: Mutex<State>

  init(capacity: Int, calls: Int) {
    self.capacity = max(1, capacity)
    maximumCalls = calls
    state = Mutex(State(free: max(1, capacity)))
  }

  var seen: Int { state.withLock { $0.seen } }

  // MARK: Callers

  /// Counts a caller until `end`.
  func begin(waits: Bool) throws {
    try state.withLock { state in
      guard waits || state.calls < maximumCalls else { throw Self.full }
      state.calls += 1
    }
  }

  func end() { state.withLock { $0.calls -= 1 } }

  /// Takes room for some records, at most `capacity`.
  func enter(_ count: Int, waits: Bool) async throws {
    let id = try state.withLock { state -> UInt? in
      if state.entering.isEmpty, state.free >= count {
        state.free -= count
        return nil
      }
      guard waits else { throw Self.full }
      return state.newID()
    }
    guard let id else { return }
    try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { continuation in
        let admitted = state.withLock { state in
          state.entering.append(Entrant(id: id, count: count, continuation: continuation))
          return state.admit()
        }
        for entrant in admitted { entrant.continuation.resume() }
        if Task.isCancelled { withdraw(id) }
      }
    } onCancel: {
      withdraw(id)
    }
  }

  private func withdraw(_ id: UInt) {
    let (gone, admitted) = state.withLock { state in
      let place = state.entering.firstIndex { $0.id == id }
      let gone = place.map { state.entering.remove(at: $0) }
      return (gone, state.admit())
    }
    gone?.continuation.resume(throwing: CancellationError())
    for entrant in admitted { entrant.continuation.resume() }
  }

  /// Gives room back that no record will need.
  func leave(_ count: Int) {
    let admitted = state.withLock { state in
      state.free += count
      return state.admit()
    }
    for entrant in admitted { entrant.continuation.resume() }
  }

  // MARK: Records

  func register(_ call: KafkaProduceCall, _ index: Int) -> (id: UInt, seen: Int) {
    state.withLock { state in
      let id = state.newID()
      state.underWay[id] = (call, index)
      return (id, state.seen)
    }
  }

  /// Waits until something was delivered that had not been when `seen` was asked for.
  func change(since seen: Int) async throws {
    let id = state.withLock { $0.newID() }
    try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { continuation in
        let isOld = state.withLock { state in
          guard state.seen == seen else { return true }
          state.watching[id] = continuation
          return false
        }
        if isOld { continuation.resume() }
        if Task.isCancelled { stopWatching(id) }
      }
    } onCancel: {
      stopWatching(id)
    }
  }

  private func stopWatching(_ id: UInt) {
    state.withLock { $0.watching.removeValue(forKey: id) }?.resume(throwing: CancellationError())
  }

  func settle(_ id: UInt, _ result: Result<StreamOffset, any Error>) {
    let (found, admitted, watching) = state.withLock { state in
      state.seen += 1
      let watching = state.watching
      state.watching = [:]
      let found = state.underWay.removeValue(forKey: id)
      if found != nil { state.free += 1 }
      return (found, state.admit(), watching.values)
    }
    found?.call.settle(found?.index ?? 0, result)
    for entrant in admitted { entrant.continuation.resume() }
    for watcher in watching { watcher.resume() }
  }

  /// Whatever was not delivered never will be.
  func abandon(_ error: PlatformError) {
    for id in state.withLock({ Array($0.underWay.keys) }) { settle(id, .failure(error)) }
  }
}
