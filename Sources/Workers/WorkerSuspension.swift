import Core

/// How a version that ends its workers is held back, so that it does not take the others down with it.
///
/// The third worker that is lost while it loads or predicts with a version, with no answer between, suspends it, a passed deadline counting
/// twice: its calls are refused for a while that doubles with every further loss. Then the next call is a trial, and an answer ends the
/// matter.
package struct Suspension: Sendable {
  private static let losses = 3
  private static let shortest = Span.seconds(1)
  private static let longest = Span.minutes(10)

  private var lost = 0
  private var until: Span?
  private var end = ""

  /// Notes that a worker was lost; true when that suspends the version.
  ///
  /// - Parameter end: what became of it, in words.
  mutating func note(_ reason: WorkerStateMachine.Reason, _ end: String, now: Span) -> Bool {
    // A passed deadline has kept the others waiting all that time, and its caller has been told; what cannot be loaded
    // needs no second try at once.
    switch reason {
    case .notLoading: lost += Self.losses
    case .deadline: lost += 2
    default: lost += 1
    }
    self.end = end
    guard lost >= Self.losses else { return false }
    var pause = Self.shortest
    for _ in Self.losses..<lost where pause < Self.longest {
      pause = Span(microseconds: pause.microseconds * 2)
    }
    until = now + min(pause, Self.longest)
    return true
  }

  /// Whether workers were lost with it since its last answer.
  var isBlamed: Bool { lost > 0 }

  /// Notes an answer.
  mutating func forget() { self = Suspension() }

  /// What a call is told now; nil where it may go on.
  func refusal(of key: ModelKey, now: Span) -> PlatformError? {
    guard let until, now < until else { return nil }
    return PlatformError(
      .unavailable,
      "\(key) is held back: it ends the workers that load it or predict with it (\(end)); "
        + "promote another version, or mend the model and train it again",
      context: ["reason": "suspended"], retryAfter: until - now)
  }
}

extension WorkerRoster {
  /// Blames a version for a lost worker; when it is suspended, its waiting calls are refused.
  mutating func suspend(
    _ key: ModelKey, because reason: WorkerStateMachine.Reason, _ end: String, now: Span
  ) -> [Effect] {
    guard models[key]?.suspension.note(reason, end, now: now) == true,
      let refusal = models[key]?.suspension.refusal(of: key, now: now)
    else { return [] }
    let waiting = calls[key]?.queue.removeAll() ?? []
    return [.warn(refusal.message)] + waiting.map { .answer($0, .failure(refusal)) }
  }
}

extension Flight {
  /// The version whose predictions it carries, nil for anything else.
  var predicted: ModelKey? {
    if case .predict(let key, _)? = items.first?.task { key } else { nil }
  }
}
