import Core
import Logging
import Wire

/// How frames reach a worker on another machine, and how it is left.
package struct WorkerLink: Sendable {
  /// Queues a frame; never waits.
  package var send: @Sendable (Martlet_Worker_V1_Frame) -> Void
  package var close: @Sendable () -> Void

  package init(
    send: @escaping @Sendable (Martlet_Worker_V1_Frame) -> Void,
    close: @escaping @Sendable () -> Void
  ) {
    self.send = send
    self.close = close
  }
}

/// Workers that dial in from other machines; whoever carries their frames has checked who they are.
extension WorkerPool {
  /// Takes a worker in; from now on it is given versions to load and predictions to make.
  ///
  /// - Throws: `failedPrecondition` for a worker of another release; `unavailable` while the platform starts or stops, or where
  ///   as many are there as may be.
  package func join(_ hello: Martlet_Worker_V1_Hello, over link: WorkerLink) throws -> WorkerID {
    guard hello.protocolVersion == 1 else {
      throw PlatformError(
        .failedPrecondition,
        "the worker speaks version \(hello.protocolVersion) of the protocol; use the release of the platform"
      )
    }
    let name = hello.name.isEmpty ? "unnamed" : String(hello.name.prefix(Limits.nameCharacters))
    let now = clock.now()
    let joined = apply { state -> (WorkerID?, [WorkerRoster.Effect]) in
      let (worker, effects) = state.roster.join(
        name, memory: Int(clamping: hello.memoryBytes), now: now)
      if let worker { state.handles[worker] = WorkerHandle(id: worker, link: link) }
      return (worker, effects)
    }
    guard let joined else {
      throw PlatformError(
        .unavailable,
        "the platform takes no worker now: it starts, it stops, or \(Limits.remoteWorkers) are there already",
        retryAfter: .seconds(5))
    }
    logger.info("a worker has dialed in", metadata: ["worker": "\(joined)", "name": "\(name)"])
    return joined
  }

  /// A frame of a worker that has joined; false for one that has no place there.
  package func received(_ frame: Martlet_Worker_V1_Frame, from worker: WorkerID) -> Bool {
    switch frame.kind {
    case .result(let result): answered(worker, result.taskID, .success(result))
    case .fault(let fault):
      answered(worker, fault.taskID, .failure(TaskFault(fault, worker: worker)))
    case .heartbeat(let heartbeat):
      self.heartbeat(worker, memory: Int(clamping: heartbeat.rssBytes))
    case .log(let line): said(worker, line)
    case .hello, .welcome, .task, .drain, nil: return false
    }
    return true
  }

  /// Takes note that the stream of a worker is over.
  package func left(_ worker: WorkerID) {
    apply { $0.roster.closed(worker, now: clock.now()) }
    state.withLock { $0.handles[worker] = nil }
    logger.info("a worker has gone", metadata: ["worker": "\(worker)"])
  }

  /// Asks every worker of another machine to finish what it has and to go.
  package func dismissRemote() {
    apply { $0.roster.dismissRemote(now: clock.now()) }
  }
}

extension WorkerRoster {
  /// Nil where none is taken.
  mutating func join(_ name: String, memory: Int, now: Span) -> (WorkerID?, [Effect]) {
    guard listening, !stopping, !remoteDismissed,
      slots.count(where: { $0.remote != nil }) < Limits.remoteWorkers
    else { return (nil, []) }
    let worker = newWorker()
    var slot = Slot(role: .serving, startAt: now, spawnedAt: now, idleSince: now)
    slot.remote = name
    slot.worker = worker
    slot.machine = WorkerStateMachine(patience: configuration.patience, now: now)
    slot.assigned = models.filter { !$0.value.leaving }.map(\.key).sorted(by: Self.inOrder)
    slots.append(slot)
    return (worker, hello(worker, memory: memory, now: now).1)
  }

  mutating func dismissRemote(now: Span) -> [Effect] {
    remoteDismissed = true
    var effects: [Effect] = []
    for index in slots.indices where slots[index].remote != nil {
      slots[index].retired = true
      effects += handle(.drain, at: index, now: now)
    }
    return effects + settle(now: now)
  }

  /// A version that a worker of another machine cannot load is served without it.
  mutating func loadFailedRemotely(
    _ key: ModelKey, at index: Int, _ error: PlatformError
  ) -> [Effect] {
    slots[index].assigned.removeAll { $0 == key }
    return [
      .warn("worker \(slots[index].label) cannot load \(key) and goes without it: \(error)")
    ]
  }

  static func inOrder(_ a: ModelKey, _ b: ModelKey) -> Bool {
    (a.model, a.version) < (b.model, b.version)
  }
}

extension WorkerRoster.Slot {
  /// For messages: "w3 (pid 812)", or "w4 (on gpu-1)".
  var label: String {
    let name = worker.map { "\($0)" } ?? "?"
    if let remote { return "\(name) (on \(remote))" }
    return name + (pid.map { " (pid \($0))" } ?? "")
  }
}
