import Core
import Foundation
import Logging
import Metrics
import NIOCore
import NIOPosix
import ServiceLifecycle
import Synchronization
import Wire

/// The pool's time, injected so that tests decide what it is; it never runs backwards.
package struct WorkerClock: Sendable {
  package var now: @Sendable () -> Span
  package var sleep: @Sendable (Span) async throws -> Void

  package init(
    now: @escaping @Sendable () -> Span, sleep: @escaping @Sendable (Span) async throws -> Void
  ) {
    self.now = now
    self.sleep = sleep
  }

  package static let system = WorkerClock(
    now: {
      var time = timespec()
      clock_gettime(CLOCK_MONOTONIC, &time)
      return Span(microseconds: Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1_000)
    },
    sleep: { try await Task.sleep(for: $0.duration) })
}

/// The platform's Python processes: starts them, watches them, and has them do tasks.
///
/// Guarantees: a task is answered once; a task whose worker is lost goes once more to another; a
/// worker that sends nothing for the configured time is killed and replaced; training never delays
/// predictions; after `run` has returned no process is left.
package final class WorkerPool: Service, Sendable {
  static let tick = Span.milliseconds(25)
  static let memoryEvery = Span.seconds(1)
  private static let looksForEnd = 10

  struct State {
    var roster: WorkerRoster
    var handles: [WorkerID: WorkerHandle] = [:]
    /// Not in the roster any more, and not reaped yet.
    var ending: [WorkerHandle] = []
    var judgedAt = Span(microseconds: 0)
    var tickedAt: Span?
    /// Models whose gauges were set.
    var reported: Set<String> = []
  }

  package let configuration: WorkerConfiguration
  let logger: Logger
  let clock: WorkerClock
  let state: Mutex<State>
  private let token: String
  private let group: any EventLoopGroup
  private let nextItem = Atomic<UInt64>(1)
  private let socketPath = Mutex("")
  let gauges = WorkerStateMachine.State.allCases.filter { $0 != .gone }.map { state in
    (state, Gauge(label: "martlet_workers", dimensions: [("state", state.rawValue)]))
  }

  package init(
    _ configuration: WorkerConfiguration, logger: Logger = Logger(label: "martlet.workers"),
    clock: WorkerClock = .system,
    group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
    chance: @escaping @Sendable () -> Double = { Double.random(in: 0..<1) }
  ) {
    self.configuration = configuration
    self.logger = logger
    self.clock = clock
    self.group = group
    state = Mutex(State(roster: WorkerRoster(configuration, chance: chance)))
    token = (0..<4).map { _ in String(UInt64.random(in: .min ... .max), radix: 36) }.joined()
  }

  // MARK: Calls

  /// Has a worker do a task and waits for the answer; where calls wait, those of higher `CallPriority.current` go first.
  ///
  /// - Throws: `userCode` when the user's function or model failed; `overloaded` when too many
  /// wait; `deadlineExceeded` after
  ///   `timeout`; `unavailable` when workers were lost with it twice; `cancelled` when the calling
  ///   task is cancelled, which also ends the worker of a running training.
  package func run(
    _ task: WorkerTask, timeout: Span, say: (@Sendable (WorkerLogLine) -> Void)? = nil
  ) async throws -> WorkerResult {
    let id = nextItem.wrappingAdd(1, ordering: .relaxed).oldValue
    let answer = try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { continuation in
        let now = clock.now()
        let item = WorkItem(
          id: id, task: task, queuedAt: now, deadline: now + timeout,
          priority: CallPriority.current, say: say,
          reply: { continuation.resume(with: $0.mapError { $0 as any Error }) })
        apply { $0.roster.submit(item, now: now) }
        // The handler may have run before there was anything to cancel.
        if Task.isCancelled { apply { $0.roster.cancel(id, now: now) } }
      }
    } onCancel: {
      apply { $0.roster.cancel(id, now: clock.now()) }
    }
    return try WorkerResult(answer, to: task)
  }

  /// Has `workers` processes load a version and returns when all of them hold it.
  package func ensureLoaded(_ artifact: ModelArtifact, workers: Int = 1) async throws {
    let id = nextItem.wrappingAdd(1, ordering: .relaxed).oldValue
    var sized = artifact
    sized.bytes = Self.size(of: artifact.path)
    let artifact = sized
    try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation {
        (continuation: CheckedContinuation<Void, any Error>) in
        apply { state in
          state.roster.assign(artifact, count: max(1, workers), id: id, now: clock.now()) {
            continuation.resume(with: $0.mapError { $0 as any Error })
          }
        }
        if Task.isCancelled { apply { $0.roster.cancelLoading(id) } }
      }
    } onCancel: {
      apply { $0.roster.cancelLoading(id) }
    }
  }

  /// Lets go of a version after the last call that waits for it.
  package func unload(_ key: ModelKey) {
    apply { $0.roster.unassign(key, now: clock.now()) }
  }

  /// Puts what the definitions say about serving in force, by model.
  package func follow(_ rules: [String: ServingDefinition]) {
    apply { $0.roster.follow(rules, now: clock.now()) }
  }

  private static func size(of path: String) -> Int {
    var status = stat()
    return stat(path, &status) == 0 ? Int(status.st_size) : 0
  }

  /// The processes that are there, for status pages.
  package var workers: [WorkerStatus] {
    state.withLock { $0.roster.slots.compactMap(WorkerStatus.init) }
  }

  /// The numbers of the processes that run now.
  package var processIDs: [Int32] {
    state.withLock { state in
      (state.handles.values + state.ending).compactMap { $0.pid }
    }
  }

  // MARK: Service

  package func run() async throws {
    let path = try WorkerSocket.path(in: configuration.directory)
    socketPath.withLock { $0 = path }
    let server = try await listen(at: path)
    apply { state in
      state.roster.listening = true
      return state.roster.settle(now: clock.now())
    }
    await cancelWhenGracefulShutdown { await self.tickUntilCancelled() }
    await stop()
    try? await server.close()
    WorkerSocket.remove(path)
  }

  private func tickUntilCancelled() async {
    while !Task.isCancelled {
      tickOnce()
      try? await clock.sleep(Self.tick)
    }
  }

  private func listen(at path: String) async throws -> any Channel {
    do {
      let server = try await ServerBootstrap(group: group)
        .childChannelInitializer { channel in
          channel.eventLoop.makeCompletedFuture {
            try channel.pipeline.syncOperations.addHandler(WorkerConnection(pool: self))
          }
        }
        .bind(unixDomainSocketPath: path, cleanupExistingSocketFile: true).get()
      chmod(path, 0o600)
      return server
    } catch {
      throw PlatformError(
        .unavailable, "cannot open the workers' socket \(path); check the folder", cause: error)
    }
  }

  // MARK: Frames

  func hello(_ hello: Martlet_Worker_V1_Hello, on channel: any Channel) -> WorkerID? {
    guard let worker = WorkerID(hello.workerID), hello.protocolVersion == 1,
      Self.same(hello.token, token)
    else { return nil }
    return apply { state in
      let (expected, effects) = state.roster.hello(
        worker, memory: Int(clamping: hello.memoryBytes), now: clock.now())
      guard expected else { return (nil, effects) }
      state.handles[worker]?.channel = channel
      return (worker, effects)
    }
  }

  func answered(
    _ worker: WorkerID, _ task: String, _ outcome: Result<Martlet_Worker_V1_Result, TaskFault>
  ) {
    guard let task = UInt64(task) else { return }
    apply { $0.roster.answered(worker, task, outcome, now: clock.now()) }
  }

  func heartbeat(_ worker: WorkerID, memory: Int) {
    apply { $0.roster.heartbeat(worker, memory: memory, now: clock.now()) }
  }

  /// Takes note that a worker's socket is closed, and of how its process ended where that is known
  /// within a moment: a process that dies closes its socket shortly before it can be waited for.
  func closed(_ worker: WorkerID, on loop: any EventLoop, looks: Int = WorkerPool.looksForEnd) {
    let handle = state.withLock { state in
      state.roster.isEndUnknown(of: worker) ? state.handles[worker] : nil
    }
    if looks > 0, let handle, handle.process != nil, !attend(handle, now: clock.now()) {
      loop.scheduleTask(in: .milliseconds(2)) { self.closed(worker, on: loop, looks: looks - 1) }
      return
    }
    apply { $0.roster.closed(worker, now: clock.now()) }
  }

  /// Compares in a time that does not tell how much was right.
  private static func same(_ a: String, _ b: String) -> Bool {
    guard a.utf8.count == b.utf8.count else { return false }
    return zip(a.utf8, b.utf8).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
  }

  // MARK: Effects

  func apply(_ change: (inout State) -> [WorkerRoster.Effect]) {
    apply { state in ((), change(&state)) }
  }

  /// Changes the roster under the lock and acts outside of it.
  func apply<Answer>(
    _ change: (inout State) -> (Answer, [WorkerRoster.Effect])
  ) -> Answer {
    let (answer, actions) = state.withLock { state in
      let (answer, effects) = change(&state)
      return (answer, effects.map { ($0, handle(for: $0, in: &state)) })
    }
    for (effect, handle) in actions { perform(effect, handle) }
    return answer
  }

  private func handle(
    for effect: WorkerRoster.Effect, in state: inout State
  ) -> WorkerHandle? {
    switch effect {
    case .spawn(let worker, _):
      let handle = WorkerHandle(id: worker)
      state.handles[worker] = handle
      return handle
    case .welcome(let worker), .send(let worker, _), .askToDrain(let worker):
      return state.handles[worker]
    case .kill(let worker, _):
      return state.handles[worker]
    case .answer, .loaded, .restarted, .wake, .scaled, .warn: return nil
    }
  }

  private func perform(_ effect: WorkerRoster.Effect, _ handle: WorkerHandle?) {
    switch effect {
    case .spawn(let worker, let role): spawn(worker, role, handle)
    case .welcome(let worker): handle.map { welcome(worker, $0) }
    case .send(let worker, let flight): handle.map { send(flight, to: worker, $0) }
    case .askToDrain: handle?.write { $0.drain = Martlet_Worker_V1_Drain() }
    case .kill(let worker, let reason):
      let level: Logger.Level = [.notNeeded, .crashed].contains(reason) ? .debug : .warning
      logger.log(
        level: level, "killing a worker: \(reason.rawValue)", metadata: ["worker": "\(worker)"])
      handle?.kill()
    case .answer(let item, let result): item.reply(result)
    case .loaded(let reply, let result): reply(result)
    case .restarted(let worker, let reason, let end):
      Counter(label: "martlet_worker_restarts_total", dimensions: [("reason", "\(reason)")])
        .increment()
      logger.warning("\(end); it is replaced", metadata: ["worker": "\(worker)"])
    case .wake(let time): wake(at: time)
    case .scaled(let key, let workers, let grew, let why): report(key, workers, grew, why)
    case .warn(let message): logger.warning("\(message)")
    }
  }

  private func wake(at time: Span) {
    let wait = max(0, time.microseconds - clock.now().microseconds)
    group.any().scheduleTask(in: .microseconds(wait)) {
      self.apply { $0.roster.woken(now: self.clock.now()) }
    }
  }

  private func report(_ key: ModelKey, _ workers: Int, _ grew: Bool, _ why: String) {
    Counter(
      label: "martlet_worker_scalings_total",
      dimensions: [("model", key.model), ("direction", grew ? "up" : "down")]
    ).increment()
    logger.info(
      "\(key) gets \(grew ? "one worker more" : "one worker less"), \(workers) now: \(why)",
      metadata: ["model": "\(key.model)", "version": "\(key.version)", "workers": "\(workers)"])
  }

  private func welcome(_ worker: WorkerID, _ handle: WorkerHandle) {
    logger.debug("a worker said hello", metadata: ["worker": "\(worker)"])
    handle.write { frame in
      frame.welcome.heartbeatIntervalMs = UInt32(
        configuration.heartbeatInterval.microseconds / 1_000)
      frame.welcome.maxFrameBytes = UInt32(Limits.frameBytes)
    }
  }

  private func send(_ flight: Flight, to worker: WorkerID, _ handle: WorkerHandle) {
    do {
      let frame = try WorkerFrames.task(
        flight, libraries: configuration.libraryVersions, now: clock.now())
      try handle.send(frame)
    } catch {
      let failure = error as? PlatformError ?? PlatformError(.internalError, "\(error)")
      apply { state in
        state.roster.answered(
          worker, flight.id, .failure(TaskFault(.final, failure)), now: clock.now())
      }
    }
  }

  private func spawn(_ worker: WorkerID, _ role: WorkerRoster.Role, _ handle: WorkerHandle?) {
    let launch = WorkerProcess.Launch(
      executable: configuration.python,
      arguments: [
        "-m", "martlet_worker", "--socket", socketPath.withLock { $0 },
        "--token-env", WorkerEnvironment.token, "--worker-id", worker.description,
      ],
      environment: WorkerEnvironment.make(configuration, role: role, token: token))
    do {
      let process = try WorkerProcess(launch)
      state.withLock { $0.roster.started(worker, pid: process.pid) }
      handle?.started(process)
    } catch {
      logger.error("\(error)", metadata: ["worker": "\(worker)"])
      apply { state in
        state.handles[worker] = nil
        state.ending.removeAll { $0.id == worker }
        return state.roster.exited(worker, lastWords: "\(error)", now: clock.now())
      }
    }
  }
}
