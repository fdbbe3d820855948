import Core

/// Processes: when one is started, judged, replaced and ended.
extension WorkerRoster {
  static let startsBeforeGivingUp = 3

  // MARK: Events of one worker

  /// False for a worker that is not expected: an old one, or one that said hello already.
  package mutating func hello(_ worker: WorkerID, memory: Int, now: Span) -> (Bool, [Effect]) {
    guard let index = index(of: worker), slots[index].machine?.state == .spawned else {
      return (false, [])
    }
    slots[index].memory = memory
    slots[index].idleSince = now
    slots[index].failedStarts = 0
    slots[index].spoke = true
    return (true, handle(.hello, at: index, now: now) + settle(now: now))
  }

  package mutating func heartbeat(_ worker: WorkerID, memory: Int, now: Span) -> [Effect] {
    guard let index = index(of: worker) else { return [] }
    slots[index].memory = memory
    return handle(.heartbeat, at: index, now: now)
  }

  package mutating func closed(_ worker: WorkerID, now: Span) -> [Effect] {
    guard let index = index(of: worker) else { return [] }
    return handle(.closed, at: index, now: now) + settle(now: now)
  }

  package mutating func started(_ worker: WorkerID, pid: Int32) {
    if let index = index(of: worker) { slots[index].pid = pid }
  }

  /// Whether the worker counts, is not going anyway, and nothing is known of the end of its process.
  package func isEndUnknown(of worker: WorkerID) -> Bool {
    guard let index = index(of: worker) else { return false }
    return slots[index].ending == nil && slots[index].machine?.state != .draining
  }

  /// - Parameter ending: like "exit status 1"; nil where no process was started.
  package mutating func exited(
    _ worker: WorkerID, ending: String? = nil, lastWords: String, now: Span
  ) -> [Effect] {
    guard let index = index(of: worker) else { return [] }
    slots[index].ending = ending
    slots[index].lastWords = lastWords
    return handle(.exited, at: index, now: now) + settle(now: now)
  }

  // MARK: Time

  /// Counts every worker as just heard from.
  mutating func excuse(now: Span) {
    for index in slots.indices { _ = slots[index].machine?.handle(.heartbeat, at: now) }
  }

  /// - Parameter memory: of the platform itself and of all; given about once a second.
  package mutating func tick(now: Span, memory: (own: Int, limit: Int)?) -> [Effect] {
    var effects = expire(now: now)
    for index in slots.indices { effects += handle(.tick, at: index, now: now) }
    if let memory {
      effects += judge(memory.own, memory.limit, now: now)
      effects += scale(now: now)
    }
    for index in slots.indices where slots[index].role == .general && slots[index].isReady {
      guard slots[index].idleSince + configuration.idleTimeout <= now else { continue }
      slots[index].retired = true
      effects += handle(.drain, at: index, now: now)
    }
    return effects + settle(now: now)
  }

  /// Tells every caller whose time is over; rows in flight keep their place.
  private mutating func expire(now: Span) -> [Effect] {
    var effects: [Effect] = []
    for key in Array(calls.keys) {
      let late = calls[key]?.queue.removeLate(now: now) ?? []
      effects += late.map { .answer($0, .failure(Self.late($0, "waited"))) }
    }
    let late = general.filter { $0.deadline <= now }
    if !late.isEmpty {
      general.removeAll { $0.deadline <= now }
      effects += late.map { .answer($0, .failure(Self.late($0, "waited"))) }
    }
    for index in slots.indices {
      let items = slots[index].flight?.items ?? []
      for (place, item) in items.enumerated() where item.deadline <= now && !item.isDetached {
        effects.append(.answer(item, .failure(Self.late(item, "ran"))))
        slots[index].flight?.items[place] = item.detached()
      }
    }
    return effects
  }

  static func late(_ item: WorkItem, _ verb: String) -> PlatformError {
    let allowed = Span.milliseconds((item.deadline - item.queuedAt).microseconds / 1_000)
    return PlatformError(
      .deadlineExceeded,
      "\(item.name) \(verb) for longer than the \(allowed) it was given; allow more time, or more "
        + "workers (max_python_workers)",
      context: verb == "ran" ? ["reason": WorkItem.ranTooLong] : [:])
  }

  private mutating func judge(_ own: Int, _ limit: Int, now: Span) -> [Effect] {
    let candidates = slots.filter { $0.remote == nil }.compactMap { slot in
      slot.worker.map {
        MemoryGuard.Candidate(
          worker: $0, bytes: slot.memory, idle: slot.canBeRecycled(now: now))
      }
    }
    memoryLeft = limit - candidates.reduce(own) { $0 + $1.bytes }
    switch MemoryGuard.judge(candidates, own: own, limit: limit) {
    case .fine:
      growthStopped = false
      return []
    case .full(let recycle):
      var effects: [Effect] = []
      if !growthStopped {
        effects.append(.warn("the platform and its workers are above their share of the memory"))
      }
      growthStopped = true
      let recycling = slots.contains { $0.machine?.state == .draining }
      guard let recycle, !recycling, let index = index(of: recycle) else { return effects }
      effects.append(
        .warn("worker \(recycle) is the largest that can be spared and is started anew"))
      slots[index].recycledAt = now
      return effects + handle(.memoryExceeded, at: index, now: now)
    }
  }

  // MARK: The state machine's actions

  mutating func handle(
    _ event: WorkerStateMachine.Event, at index: Int, now: Span
  ) -> [Effect] {
    guard let worker = slots[index].worker,
      let actions = slots[index].machine?.handle(event, at: now)
    else { return [] }
    var effects: [Effect] = []
    var reason = WorkerStateMachine.Reason.crashed
    for action in actions {
      switch action {
      case .welcome: effects.append(.welcome(worker))
      case .warm: effects += warm(index, now: now)
      case .takeTask: effects += takeTask(index, now: now)
      case .askToDrain: effects.append(.askToDrain(worker))
      case .kill(let why):
        reason = why
        effects.append(.kill(worker, why))
      case .lost: effects += lost(index, worker, reason, now: now)
      case .release(let expected):
        effects += release(index, worker, expected, reason, now: now)
      }
    }
    return effects
  }

  private mutating func warm(_ index: Int, now: Span) -> [Effect] {
    if let artifact = nextToLoad(index, now: now) {
      return send(.load(artifact), to: index, deadline: now + configuration.loadTimeout, now: now)
    }
    return handle(.warmed, at: index, now: now)
  }

  private mutating func lost(
    _ index: Int, _ worker: WorkerID, _ reason: WorkerStateMachine.Reason, now: Span
  ) -> [Effect] {
    guard let flight = slots[index].flight else { return [] }
    slots[index].flight = nil
    let end = end(of: worker, at: index, reason)
    func error(_ what: String) -> PlatformError {
      PlatformError(
        .unavailable, "\(end); it was busy with \(what)", context: ["worker": worker.description],
        retryable: true)
    }
    switch flight.work {
    case .items:
      let retried = retry(flight.items, because: error(flight.items.first?.name ?? "a task"))
      guard let key = flight.predicted else {
        // A transform looks for the record that did it, and comes again at once.
        if case .transform? = flight.items.first?.task { slots[index].lostToVersion = true }
        return retried
      }
      // The way to another machine may be to blame as well as the version.
      if slots[index].remote != nil { return retried }
      slots[index].lostToVersion = true
      return retried + suspend(key, because: reason, end, now: now)
    case .load where slots[index].remote != nil: return []
    case .load(let artifact):
      slots[index].lostToVersion = models[artifact.key]?.waiting.isEmpty == true
      return loadLost(
        artifact.key, because: error("loading \(artifact.key)"), reason, now: now)
    case .unload: return []
    }
  }

  /// What became of a worker: "worker w3 (pid 812) ended with signal 9 (killed)".
  private func end(
    of worker: WorkerID, at index: Int, _ reason: WorkerStateMachine.Reason
  ) -> String {
    let name = "worker \(slots[index].label)"
    if reason == .crashed, let ending = slots[index].ending {
      return "\(name) ended with \(ending)"
    }
    return "\(name) was lost: \(reason.rawValue)"
  }

  private mutating func release(
    _ index: Int, _ worker: WorkerID, _ expected: Bool, _ reason: WorkerStateMachine.Reason,
    now: Span
  ) -> [Effect] {
    let end = end(of: worker, at: index, reason)
    slots[index].worker = nil
    slots[index].machine = nil
    slots[index].pid = nil
    slots[index].ending = nil
    slots[index].loaded = []
    slots[index].toUnload = []
    slots[index].memory = 0
    slots[index].startAt = now
    if slots[index].remote != nil {
      let isGoing = slots[index].retired
      slots[index].retired = true
      return expected || isGoing ? [] : [.warn("\(end); calls go on without it")]
    }
    if expected || slots[index].retired { return [] }
    slots[index].lastEnd = end
    if slots[index].lostToVersion {
      // The others that it served are needed again at once; the version that ended it is held back.
      slots[index].lostToVersion = false
      return [.restarted(worker, reason, end: end)]
    }
    let stable = now - slots[index].spawnedAt > configuration.backoff.stableAfter
    slots[index].failures = stable ? 1 : slots[index].failures + 1
    slots[index].startAt =
      now + configuration.backoff.delay(failures: slots[index].failures, chance: chance())
    slots[index].failedStarts = slots[index].spoke ? 0 : slots[index].failedStarts + 1
    let effects = [Effect.restarted(worker, reason, end: end)]
    guard slots[index].failedStarts >= Self.startsBeforeGivingUp else { return effects }
    return effects + giveUp(index)
  }

  /// Nobody waits for a process that never comes up: those who do are told why.
  private mutating func giveUp(_ index: Int) -> [Effect] {
    let words = slots[index].lastWords
    let error = PlatformError(
      .unavailable,
      "the Python worker does not start (\(configuration.python)); "
        + (words.isEmpty ? "see the log" : "its last words: \(words)"))
    switch slots[index].role {
    case .serving:
      return slots[index].assigned.flatMap { key in
        models[key]?.waiting.isEmpty == false ? drop(key, because: error) : []
      }
    case .general:
      let items = Array(general)
      general.removeAll()
      return items.map { .answer($0, .failure(error)) }
    }
  }

  // MARK: Growth

  /// Ends what is not needed, starts what is, and gives idle workers their tasks.
  package mutating func settle(now: Span) -> [Effect] {
    var effects = forgetLeaving()
    for index in slots.indices where slots[index].hasNothingToServe {
      slots[index].retired = true
      effects += handle(.drain, at: index, now: now)
    }
    slots.removeAll { slot in
      guard slot.machine == nil else { return false }
      return slot.retired || (slot.role == .general && general.isEmpty && slot.startAt <= now)
    }
    return effects + advance(now: now)
  }

  mutating func advance(now: Span) -> [Effect] {
    var effects: [Effect] = []
    for index in slots.indices { effects += takeTask(index, now: now) }
    guard !stopping, listening else { return effects }
    growGeneral(now: now)
    var living = slots.count { $0.machine != nil && $0.remote == nil }
    for index in slots.indices
    where slots[index].machine == nil && slots[index].startAt <= now && slots[index].remote == nil {
      guard living < configuration.maxPythonWorkers, !slots[index].retired else { continue }
      let worker = newWorker()
      slots[index].worker = worker
      slots[index].machine = WorkerStateMachine(patience: configuration.patience, now: now)
      slots[index].spawnedAt = now
      slots[index].lastWords = ""
      slots[index].spoke = false
      living += 1
      effects.append(.spawn(worker, slots[index].role))
    }
    return effects
  }

  /// One place for every task that could start now; a place whose process has just failed counts,
  /// so that its back-off is kept.
  private mutating func growGeneral(now: Span) {
    let coming = slots.count { $0.role == .general && $0.flight == nil && !$0.retired }
    var wanted = startableGeneral - coming
    while wanted > 0 {
      let places = slots.count { $0.role == .general }
      let room = places < configuration.maxPythonWorkers - max(1, servingSlots)
      guard places == 0 || (room && !growthStopped) else { return }
      slots.append(Slot(role: .general, startAt: now, spawnedAt: now, idleSince: now))
      wanted -= 1
    }
  }

  // MARK: Stop

  /// Takes nothing new, fails what waits, and asks every worker to finish what it has.
  package mutating func stop(now: Span) -> [Effect] {
    stopping = true
    let error = PlatformError(.unavailable, "the platform is stopping")
    var effects: [Effect] = []
    for key in Array(models.keys) { effects += drop(key, because: error) }
    effects += general.map { .answer($0, .failure(error)) }
    general.removeAll()
    for index in slots.indices {
      slots[index].retired = true
      effects += handle(.drain, at: index, now: now)
    }
    return effects + settle(now: now)
  }

  package var isEmpty: Bool { slots.allSatisfy { $0.machine == nil } }
}

extension WorkerRoster.Slot {
  fileprivate var hasNothingToServe: Bool {
    role == .serving && assigned.isEmpty && !retired && remote == nil
  }
}

extension WorkerConfiguration {
  var patience: WorkerStateMachine.Patience {
    WorkerStateMachine.Patience(
      hello: helloTimeout, heartbeat: heartbeatTimeout, drain: stopGrace)
  }
}

extension WorkItem {
  /// For messages.
  var name: String {
    switch task {
    case .predict(let key, _): "a prediction of \(key)"
    case .train(let task): "training by \(task.runPath):\(task.function)"
    case .transform(let task): "the transform \(task.codePath):\(task.function)"
    }
  }
}

extension WorkerRoster.Slot {
  private static let recycleAtMostEvery = Span.minutes(1)

  /// Whether ending it costs nobody a task: it is idle, or predicts, which is over soon. One that is as large again right after
  /// is not worth it.
  fileprivate func canBeRecycled(now: Span) -> Bool {
    if let recycledAt, now - recycledAt < Self.recycleAtMostEvery { return false }
    return isReady || (machine?.state == .busy && flight?.predicted != nil)
  }
}
