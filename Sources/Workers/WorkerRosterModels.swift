import Core

/// Which worker serves which model version.
extension WorkerRoster {
  package typealias LoadReply = @Sendable (Result<Void, PlatformError>) -> Void

  /// Has `count` workers hold a version and answers when all of them do.
  ///
  /// New processes are preferred, so that loading does not hold up what is being served; at the
  /// limit, workers that serve the fewest versions take one more.
  package mutating func assign(
    _ artifact: ModelArtifact, count: Int, id: UInt64 = 0, now: Span, reply: @escaping LoadReply
  ) -> [Effect] {
    if stopping {
      return [.loaded(reply, .failure(PlatformError(.unavailable, "the platform is stopping")))]
    }
    let key = artifact.key
    models[key, default: Assignment(artifact: artifact)].leaving = false
    models[key]?.artifact = artifact
    models[key]?.asked = count
    if calls[key] == nil { calls[key] = ModelCalls(configuration.scaling) }
    var effects: [Effect] = []
    var missing = firstWorkers(of: key, asked: count) - workers(of: key)
    while missing > 0, let index = placeForModel(key, now: now, &effects) {
      slots[index].assigned.append(key)
      missing -= 1
    }
    for index in slots.indices where slots[index].canTakeRemotely(key) {
      slots[index].assigned.append(key)
    }
    if isLoaded(key) {
      effects.append(.loaded(reply, .success(())))
    } else {
      models[key]?.waiting.append((id, reply))
      models[key]?.losses = 0
    }
    return effects + settle(now: now)
  }

  /// Forgets who waits for a version; it is loaded all the same.
  mutating func cancelLoading(_ id: UInt64) -> [Effect] {
    for key in Array(models.keys) {
      guard let place = models[key]?.waiting.firstIndex(where: { $0.id == id }),
        let waiting = models[key]?.waiting.remove(at: place)
      else { continue }
      let error = PlatformError(.cancelled, "nobody waits for \(key) any more")
      return [.loaded(waiting.reply, .failure(error))]
    }
    return []
  }

  /// Drops a version once no call for it waits or runs.
  package mutating func unassign(_ key: ModelKey, now: Span) -> [Effect] {
    models[key]?.leaving = true
    return settle(now: now)
  }

  private func isLoaded(_ key: ModelKey) -> Bool {
    slots.allSatisfy {
      $0.remote != nil || !$0.assigned.contains(key) || $0.loaded.contains(key)
    }
  }

  mutating func placeForModel(
    _ key: ModelKey, now: Span, _ effects: inout [Effect]
  ) -> Int? {
    if let index = newPlace(now: now, &effects) { return index }
    return slots.indices
      .filter {
        slots[$0].role == .serving && !slots[$0].retired && slots[$0].remote == nil
          && !slots[$0].assigned.contains(key)
      }
      .min { weight(of: slots[$0]) < weight(of: slots[$1]) }
  }

  /// A place for one more process that serves; nil where there is no room.
  mutating func newPlace(now: Span, _ effects: inout [Effect]) -> Int? {
    let serving = servingSlots
    guard serving == 0 || (serving < configuration.maxPythonWorkers - 1 && !growthStopped),
      localSlots < configuration.maxPythonWorkers || retireIdle(now: now, &effects)
    else { return nil }
    slots.append(Slot(role: .serving, startAt: now, spawnedAt: now, idleSince: now))
    return slots.count - 1
  }

  /// What a worker takes of the memory, with what it is still to load; among equal ones the number of its versions counts.
  private func weight(of slot: Slot) -> (steps: Int, versions: Int) {
    let coming = slot.assigned.reduce(0) { bytes, key in
      slot.loaded.contains(key) ? bytes : bytes + (models[key]?.artifact.bytes ?? 0)
    }
    let bytes = slot.memory + coming * Self.memoryOfArtifactByte
    return (bytes / Self.memoryStep, slot.assigned.count)
  }

  /// A model takes more memory than its file; what it really takes is known once it is loaded.
  private static let memoryOfArtifactByte = 4
  /// Workers that differ by less count as equally large.
  private static let memoryStep = 16 << 20

  /// Makes room by ending a worker that runs nothing and serves nothing.
  private mutating func retireIdle(now: Span, _ effects: inout [Effect]) -> Bool {
    let idle = slots.firstIndex {
      $0.role == .general && !$0.retired && $0.flight == nil && $0.machine?.state != .spawned
    }
    guard let idle else { return false }
    slots[idle].retired = true
    effects += handle(.drain, at: idle, now: now)
    return true
  }

  /// The first version that the worker lacks and that is not held back.
  func nextToLoad(_ index: Int, now: Span) -> ModelArtifact? {
    let slot = slots[index]
    let key = slot.assigned.first { key in
      !slot.loaded.contains(key) && models[key]?.suspension.refusal(of: key, now: now) == nil
    }
    return key.flatMap { models[$0]?.artifact }
  }

  mutating func loaded(_ key: ModelKey, at index: Int) -> [Effect] {
    slots[index].loaded.insert(key)
    guard slots[index].assigned.contains(key) else {
      slots[index].toUnload.append(key)
      return []
    }
    if slots[index].remote != nil { return [] }
    return isLoaded(key) ? finishLoading(key, .success(())) : []
  }

  mutating func loadFailed(
    _ key: ModelKey, at index: Int, _ fault: TaskFault, now: Span
  ) -> [Effect] {
    guard models[key] != nil else { return [] }
    if slots[index].remote != nil { return loadFailedRemotely(key, at: index, fault.error) }
    if models[key]?.waiting.isEmpty == false { return drop(key, because: fault.error) }
    // It could be loaded before: it is tried again, later and later, while the others are served.
    return [.warn("cannot load \(key) again: \(fault.error)")]
      + suspend(key, because: .notLoading, WorkerStateMachine.Reason.notLoading.rawValue, now: now)
  }

  /// A worker was lost while it loaded: twice is enough when somebody waits.
  mutating func loadLost(
    _ key: ModelKey, because error: PlatformError, _ reason: WorkerStateMachine.Reason, now: Span
  ) -> [Effect] {
    guard let assignment = models[key] else { return [] }
    guard !assignment.waiting.isEmpty else {
      return suspend(key, because: reason, error.message, now: now)
    }
    models[key]?.losses += 1
    return assignment.losses + 1 < 2 ? [] : drop(key, because: error)
  }

  /// Gives a version up and tells everyone who waits.
  mutating func drop(_ key: ModelKey, because error: PlatformError) -> [Effect] {
    let told = finishLoading(key, .failure(error))
    return told + forget(key, because: error)
  }

  private mutating func finishLoading(
    _ key: ModelKey, _ result: Result<Void, PlatformError>
  ) -> [Effect] {
    let waiting = models[key]?.waiting ?? []
    models[key]?.waiting = []
    return waiting.map { .loaded($0.reply, result) }
  }

  private mutating func forget(_ key: ModelKey, because error: PlatformError) -> [Effect] {
    models[key] = nil
    var removed = calls.removeValue(forKey: key)
    for index in slots.indices where slots[index].assigned.contains(key) {
      slots[index].assigned.removeAll { $0 == key }
      if slots[index].loaded.contains(key) { slots[index].toUnload.append(key) }
    }
    let items = removed?.queue.removeAll() ?? []
    return items.map { .answer($0, .failure(error)) }
  }

  /// Versions that are to go and of which nothing waits or runs any more.
  mutating func forgetLeaving() -> [Effect] {
    var effects: [Effect] = []
    for (key, assignment) in models where assignment.leaving {
      guard calls[key]?.queue.isEmpty ?? true, !slots.contains(where: { $0.isServing(key) }) else {
        continue
      }
      effects += drop(key, because: Self.notLoaded(key))
    }
    return effects
  }
}

extension WorkerRoster.Slot {
  /// A worker of another machine holds every version that there is.
  fileprivate func canTakeRemotely(_ key: ModelKey) -> Bool {
    remote != nil && !retired && !assigned.contains(key)
  }

  fileprivate func isServing(_ key: ModelKey) -> Bool {
    flight?.items.contains { item in
      if case .predict(key, _) = item.task { true } else { false }
    } ?? false
  }
}
