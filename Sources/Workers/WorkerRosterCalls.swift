import Core

/// What waits for a version, and what was measured of its calls.
package struct ModelCalls: Sendable {
  package var queue = CallQueue()
  var gathering = BatchGathering()
  var drain = DrainRate()
  var samples = WaitSamples()
  var scaling: WorkerScaling
  /// That there is no room for another worker was said already.
  var saidFull = false

  init(_ patience: WorkerScaling.Patience) { scaling = WorkerScaling(patience) }
}

/// Predictions: which waits, which goes next, and with which others.
extension WorkerRoster {
  package func rule(of key: ModelKey) -> ServingDefinition {
    rules[key.model] ?? ServingDefinition()
  }

  package mutating func follow(_ rules: [String: ServingDefinition], now: Span) -> [Effect] {
    self.rules = rules
    return advance(now: now)
  }

  mutating func submit(_ item: WorkItem, of key: ModelKey, now: Span) -> [Effect] {
    guard models[key] != nil, let waiting = calls[key]?.queue.count else {
      return [.answer(item, .failure(Self.notLoaded(key)))]
    }
    if let refusal = models[key]?.suspension.refusal(of: key, now: now) {
      return [.answer(item, .failure(refusal))]
    }
    guard item.deadline > now else { return [.answer(item, .failure(Self.late(item, "waited")))] }
    let rule = rule(of: key)
    let free = freeWorker(for: key)
    if waiting == 0, rule.batch.wait.microseconds == 0, let free {
      return send([item], to: free, now: now)
    }
    var effects: [Effect] = []
    if waiting >= rule.queue {
      let refused = calls[key]?.queue.displace(below: item.priority)
      effects.append(.answer(refused ?? item, .failure(full(key, rule.queue, now: now))))
      if refused == nil { return effects }
    }
    calls[key]?.queue.append(item)
    if rule.batch.wait.microseconds > 0 {
      let outstanding = outstanding(key)
      calls[key]?.gathering.note(outstanding: outstanding, wait: rule.batch.wait, now: now)
    }
    if let free { effects += takeTask(free, now: now) }
    return effects
  }

  /// Time has come that a worker waited for.
  package mutating func woken(now: Span) -> [Effect] {
    wakeAt = nil
    return advance(now: now)
  }

  private func full(_ key: ModelKey, _ bound: Int, now: Span) -> PlatformError {
    let wait = calls[key]?.drain.time(toAnswer: bound, now: now) ?? .seconds(1)
    return Self.overloaded(key.description, bound, after: wait)
  }

  // MARK: Who answers

  /// The one of the free workers that hold the version which has the least to do: on this machine, the fewest versions, the longest idle.
  private func freeWorker(for key: ModelKey) -> Int? {
    var best: Int?
    for index in slots.indices {
      guard slots[index].isReady, slots[index].flight == nil, slots[index].loaded.contains(key)
      else { continue }
      if let known = best, !slots[index].hasLess(thanWorker: slots[known]) { continue }
      best = index
    }
    return best
  }

  /// Gives a free worker the calls that are the most urgent of the versions that it holds.
  mutating func takePredictions(_ index: Int, now: Span) -> [Effect] {
    var effects: [Effect] = []
    while let key = mostUrgent(slots[index].loaded, now: now, &effects) {
      var late: [WorkItem] = []
      let batch = nextBatch(of: key, now: now, &late)
      effects += late.map { .answer($0, .failure(Self.late($0, "waited"))) }
      if !batch.isEmpty { return effects + send(batch, to: index, now: now) }
    }
    return effects
  }

  private mutating func mostUrgent(
    _ loaded: Set<ModelKey>, now: Span, _ effects: inout [Effect]
  ) -> ModelKey? {
    var best: (key: ModelKey, urgency: Int64)?
    for key in loaded {
      guard let urgency = calls[key]?.queue.urgency else { continue }
      if let due = gatheredAt(key, now: now) {
        effects += wake(at: due)
        continue
      }
      if best.map({ urgency < $0.urgency }) ?? true { best = (key, urgency) }
    }
    return best?.key
  }

  /// Until when calls of a version wait for others; nil where they go now.
  private func gatheredAt(_ key: ModelKey, now: Span) -> Span? {
    let batch = rule(of: key).batch
    guard batch.wait.microseconds > 0, let oldest = calls[key]?.queue.oldest,
      calls[key]?.gathering.isDue(
        outstanding: outstanding(key), rows: calls[key]?.queue.rows ?? 0, oldest: oldest, batch,
        now: now) == false
    else { return nil }
    return oldest + batch.wait
  }

  private mutating func wake(at time: Span) -> [Effect] {
    if let wakeAt, wakeAt <= time { return [] }
    wakeAt = time
    return [.wake(at: time)]
  }

  /// Calls that wait or are with a worker.
  private func outstanding(_ key: ModelKey) -> Int {
    slots.reduce(calls[key]?.queue.count ?? 0) { count, slot in
      guard let flight = slot.flight, flight.predicted == key else { return count }
      return count + flight.items.count
    }
  }

  /// The next call and, up to the batch's rows, those after it that fit beside it.
  private mutating func nextBatch(
    of key: ModelKey, now: Span, _ late: inout [WorkItem]
  ) -> [WorkItem] {
    let most = rule(of: key).batch.rows
    guard let first = calls[key]?.queue.next(now: now, late: &late) else { return [] }
    var batch = [first]
    var rows = first.rows
    while !first.alone, let next = calls[key]?.queue.peek(now: now, late: &late), !next.alone,
      rows + next.rows <= most, next.fits(beside: first),
      calls[key]?.queue.next(now: now, late: &late) != nil
    {
      rows += next.rows
      batch.append(next)
    }
    return batch
  }

  // MARK: What is measured

  func isPrediction(_ items: [WorkItem]) -> ModelKey? {
    if case .predict(let key, _)? = items.first?.task { key } else { nil }
  }

  mutating func noteSent(_ items: [WorkItem], now: Span) {
    guard let key = isPrediction(items) else { return }
    for item in items { calls[key]?.samples.note(waited: now - item.queuedAt) }
  }

  mutating func note(_ flight: Flight, isAnswered: Bool, now: Span) {
    guard !flight.items.isEmpty else { return }
    guard let key = flight.predicted else {
      generalDrain.note(answered: 1, now: now)
      return
    }
    if isAnswered { calls[key]?.drain.note(answered: flight.items.count, now: now) }
    calls[key]?.samples.note(busy: now - flight.sentAt)
  }
}

extension WorkerRoster.Slot {
  fileprivate func hasLess(thanWorker other: Self) -> Bool {
    // The way to another machine is longer.
    (remote == nil ? 0 : 1, assigned.count, idleSince)
      < (other.remote == nil ? 0 : 1, other.assigned.count, other.idleSince)
  }
}
