import Core

/// How many workers a version has.
extension WorkerRoster {
  func workers(of key: ModelKey) -> Int {
    slots.count { $0.assigned.contains(key) && !$0.retired && $0.remote == nil }
  }

  /// Places of this machine.
  var localSlots: Int { slots.count { $0.remote == nil } }

  /// By model: workers that hold a version of it, and calls that wait.
  var load: (workers: [String: Int], waiting: [String: Int]) {
    var workers: [String: Int] = [:]
    var waiting: [String: Int] = [:]
    for key in models.keys {
      waiting[key.model, default: 0] += calls[key]?.queue.count ?? 0
      workers[key.model] = slots.count { $0.assigned.contains { $0.model == key.model } }
    }
    return (workers, waiting)
  }

  /// How many a version begins with: as many as another version of its model has come to, which it may be about to replace.
  func firstWorkers(of key: ModelKey, asked: Int) -> Int {
    let others = models.keys.filter { $0.model == key.model && $0 != key }
    let grown = others.map { workers(of: $0) }.max() ?? 0
    return max(asked, rule(of: key).workers.minimum, min(grown, maximum(of: key)))
  }

  private func maximum(of key: ModelKey) -> Int {
    min(rule(of: key).workers.maximum ?? configuration.cores, configuration.maxPythonWorkers - 1)
  }

  /// Looks at every version and changes the number of its workers by one at most.
  package mutating func scale(now: Span) -> [Effect] {
    guard !stopping else { return [] }
    var effects: [Effect] = []
    let keys = models.keys.sorted { ($0.model, $0.version) < ($1.model, $1.version) }
    for key in keys { effects += scale(key, now: now) }
    return effects
  }

  private mutating func scale(_ key: ModelKey, now: Span) -> [Effect] {
    guard let assignment = models[key], !assignment.leaving, assignment.waiting.isEmpty else {
      return []
    }
    let count = workers(of: key)
    let ready = slots.count {
      $0.assigned.contains(key) && $0.loaded.contains(key) && !$0.retired && $0.remote == nil
    }
    let waiting = calls[key]?.queue.items.map(\.queuedAt) ?? []
    guard let seen = calls[key]?.samples.take(waiting: waiting, workers: count, now: now) else {
      return []
    }
    var rule = rule(of: key).workers
    rule.minimum = max(rule.minimum, assignment.asked)
    let look = WorkerScaling.Look(wait: seen.wait, busy: seen.busy, workers: count, ready: ready)
    let most = maximum(of: key)
    switch calls[key]?.scaling.judge(look, rule, maximum: most, now: now) {
    case .grow(let why): return grow(key, count, rule, why, now: now)
    case .shrink(let why): return shrink(key, count, why, now: now)
    case .stay, nil: return []
    }
  }

  private mutating func grow(
    _ key: ModelKey, _ count: Int, _ rule: ServingDefinition.Workers, _ why: String, now: Span
  ) -> [Effect] {
    var effects: [Effect] = []
    let place: Int?
    if count < rule.minimum {
      place = placeForModel(key, now: now, &effects)
    } else {
      place = hasMemory(for: key) ? newPlace(now: now, &effects) : nil
    }
    guard let place else {
      if calls[key]?.saidFull == true { return effects }
      calls[key]?.saidFull = true
      let bound = growthStopped || !hasMemory(for: key) ? "the memory" : "max_python_workers"
      return effects + [
        .warn("\(key) should have another worker (\(why)), and there is no room for it: \(bound)")
      ]
    }
    calls[key]?.saidFull = false
    slots[place].assigned.append(key)
    return effects + [.scaled(key, workers: count + 1, grew: true, why: why)]
      + settle(now: now)
  }

  /// Whether a worker as large as the largest that holds the version stays below the limit.
  private func hasMemory(for key: ModelKey) -> Bool {
    guard let memoryLeft else { return true }
    let largest =
      slots.filter { $0.loaded.contains(key) && $0.remote == nil }.map(\.memory).max() ?? 0
    return largest <= memoryLeft
  }

  private mutating func shrink(
    _ key: ModelKey, _ count: Int, _ why: String, now: Span
  ) -> [Effect] {
    // Rather one that can go, and of those the youngest.
    let index = slots.indices
      .filter {
        slots[$0].assigned.contains(key) && !slots[$0].retired && slots[$0].remote == nil
      }
      .min {
        (slots[$0].assigned.count, -slots[$0].spawnedAt.microseconds)
          < (slots[$1].assigned.count, -slots[$1].spawnedAt.microseconds)
      }
    guard let index else { return [] }
    calls[key]?.saidFull = false
    slots[index].assigned.removeAll { $0 == key }
    if slots[index].loaded.contains(key) { slots[index].toUnload.append(key) }
    return [.scaled(key, workers: count - 1, grew: false, why: why)] + settle(now: now)
  }
}
