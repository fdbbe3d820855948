import Core
import Dispatch
import Foundation
import Synchronization

/// Threads that may block, each with a resource of its own, serving one queue in order of arrival.
///
/// Guarantees: `body` runs on one of the threads, never on the cooperative pool, and alone with its resource. A task that is cancelled while
/// its call waits gets `CancellationError` at once and `body` never runs; once it runs, `interrupt` is called, and
/// the call returns when `body` does. At most `limit` calls wait; one more is refused as `.overloaded`.
package final class BlockingThreads<Resource: Sendable>: Sendable {
  private let core: BlockingQueue<Resource>

  /// - Parameter interrupt: called on any thread while a call runs whose task was cancelled; must be safe there.
  package init(
    name: String, limit: Int, resources: [Resource],
    interrupt: @escaping @Sendable (Resource) -> Void
  ) {
    core = BlockingQueue(name: name, limit: limit, threads: resources.count, interrupt: interrupt)
    for (index, resource) in resources.enumerated() {
      let thread = Thread { [core] in core.serve(resource) }
      thread.name = resources.count == 1 ? name : "\(name)-\(index + 1)"
      // Deep SQL expressions are parsed recursively.
      thread.stackSize = 8 << 20
      thread.start()
    }
  }

  deinit { core.stop {} }

  /// - Parameter afterwards: runs on the same thread once the caller has its answer, before the next call.
  package func run<Output: Sendable>(
    interruptible: Bool = true, afterwards: (@Sendable (Resource) -> Void)? = nil,
    _ body: @escaping @Sendable (Resource, BlockingCall<Resource>) throws -> Output
  ) async throws -> Output {
    let call = BlockingCall<Resource>(interrupt: interruptible ? core.interrupt : nil)
    return try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { continuation in
        let settled = SettleOnce(continuation)
        let job = BlockingQueue<Resource>.Job(
          call: call,
          run: { resource in
            let result = Result { try body(resource, call) }
            call.end()
            settled.resume(result)
            afterwards?(resource)
          },
          fail: { settled.resume(.failure($0)) })
        call.whenCancelledWaiting { settled.resume(.failure(CancellationError())) }
        do { try core.add(job) } catch { settled.resume(.failure(error)) }
      }
    } onCancel: {
      call.cancel()
    }
  }

  /// Refuses new calls, finishes the waiting ones, and returns when all threads have ended.
  package func stop() async {
    await withCheckedContinuation { continuation in core.stop { continuation.resume() } }
  }
}

/// The state of one call: whether its task was cancelled, and what to interrupt then.
package final class BlockingCall<Resource: Sendable>: Sendable {
  private enum Phase {
    case waiting(onCancel: (@Sendable () -> Void)?)
    case running(Resource)
    case over
  }
  private struct State {
    var phase = Phase.waiting(onCancel: nil)
    var isCancelled = false
  }

  private let state = Mutex(State())
  private let interrupt: (@Sendable (Resource) -> Void)?

  init(interrupt: (@Sendable (Resource) -> Void)?) { self.interrupt = interrupt }

  package var isCancelled: Bool { state.withLock { $0.isCancelled } }

  package func checkCancellation() throws {
    if isCancelled { throw CancellationError() }
  }

  func whenCancelledWaiting(_ action: @escaping @Sendable () -> Void) {
    let now = state.withLock { state in
      guard !state.isCancelled else { return true }
      state.phase = .waiting(onCancel: action)
      return false
    }
    if now { action() }
  }

  func cancel() {
    let action: (@Sendable () -> Void)? = state.withLock { state in
      guard !state.isCancelled else { return nil }
      state.isCancelled = true
      switch state.phase {
      case .waiting(let onCancel):
        state.phase = .over
        return onCancel
      case .running(let resource):
        // Under the lock, so that it cannot hit the next call on the same resource.
        interrupt?(resource)
        return nil
      case .over: return nil
      }
    }
    action?()
  }

  /// False where the call was given up while it waited.
  func begin(_ resource: Resource) -> Bool {
    state.withLock { state in
      guard case .waiting = state.phase, !state.isCancelled else { return false }
      state.phase = .running(resource)
      return true
    }
  }

  func end() { state.withLock { $0.phase = .over } }
}

/// A continuation that the first of several outcomes resumes.
private final class SettleOnce<Output: Sendable>: Sendable {
  private let continuation: Mutex<CheckedContinuation<Output, any Error>?>

  init(_ continuation: CheckedContinuation<Output, any Error>) {
    self.continuation = Mutex(continuation)
  }

  func resume(_ result: Result<Output, any Error>) {
    continuation.withLock { $0.take() }?.resume(with: result)
  }
}

/// The queue that the threads serve; it outlives the `BlockingThreads` until the last thread has ended.
private final class BlockingQueue<Resource: Sendable>: Sendable {
  struct Job: Sendable {
    var call: BlockingCall<Resource>
    var run: @Sendable (Resource) -> Void
    var fail: @Sendable (any Error) -> Void
  }

  private struct State {
    var jobs: [Job] = []
    var stopped = false
    var threads: Int
    var whenEnded: [@Sendable () -> Void] = []
  }

  let name: String
  let limit: Int
  let threads: Int
  let interrupt: @Sendable (Resource) -> Void
  private let state: Mutex<State>
  private let wakeups = DispatchSemaphore(value: 0)

  init(
    name: String, limit: Int, threads: Int, interrupt: @escaping @Sendable (Resource) -> Void
  ) {
    self.name = name
    self.limit = limit
    self.threads = threads
    self.interrupt = interrupt
    state = Mutex(State(threads: threads))
  }

  func add(_ job: Job) throws {
    try state.withLock { state in
      guard !state.stopped else {
        throw PlatformError(.unavailable, "The warehouse is closed; start the platform again.")
      }
      guard state.jobs.count < limit else {
        throw PlatformError(
          .overloaded, "\(limit) calls wait for the \(name) threads already; retry in a second.",
          retryAfter: .seconds(1))
      }
      state.jobs.append(job)
    }
    wakeups.signal()
  }

  func stop(_ whenEnded: @escaping @Sendable () -> Void) {
    let now = state.withLock { state in
      state.stopped = true
      guard state.threads > 0 else { return true }
      state.whenEnded.append(whenEnded)
      return false
    }
    if now { whenEnded() }
    for _ in 0..<threads { wakeups.signal() }
  }

  func serve(_ resource: Resource) {
    while true {
      wakeups.wait()
      let (job, stopped) = state.withLock { state in
        (state.jobs.isEmpty ? nil : state.jobs.removeFirst(), state.stopped)
      }
      if let job {
        if job.call.begin(resource) { job.run(resource) }
      } else if stopped {
        break
      }
    }
    let ended = state.withLock { state in
      state.threads -= 1
      return state.threads == 0 ? state.whenEnded : []
    }
    for action in ended { action() }
  }
}
