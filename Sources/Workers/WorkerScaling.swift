import Core

/// Decides for one model whether it should have a worker more or less, as a value without a clock.
///
/// ```
///            p95 > limit for `growAfter`: one more
/// steady ───────────────────────────────────────────▶ resting ──`rest`──▶ steady
///            p95 < limit / 4 for `shrinkAfter`, and the others could do it: one less
/// ```
/// Guarantees: never out of the bounds of the definition; between the two limits nothing changes, and after a change nothing
/// changes for a while, so a load that stays does not make the number swing.
package struct WorkerScaling: Sendable, Equatable {
  /// How long something must last before it counts.
  package struct Patience: Sendable, Equatable {
    package var growAfter = Span.seconds(3)
    package var shrinkAfter = Span.minutes(1)
    package var rest = Span.seconds(10)

    package init() {}
  }

  /// What was seen since the last look.
  package struct Look: Sendable {
    /// The 95th percentile of the time that calls waited for a worker.
    package var wait: Span
    /// The share of their time that the workers were busy with the model, in [0, 1].
    package var busy: Double
    /// Workers that hold the model or are to.
    package var workers: Int
    /// Those of them that can answer now.
    package var ready: Int

    package init(wait: Span, busy: Double, workers: Int, ready: Int) {
      self.wait = wait
      self.busy = busy
      self.workers = workers
      self.ready = ready
    }
  }

  package enum Decision: Sendable, Equatable {
    case stay
    case grow(why: String)
    case shrink(why: String)
  }

  private enum State: Sendable, Equatable {
    case steady
    case pressed(since: Span)
    case calm(since: Span)
    case resting(since: Span)
  }

  /// A worker less must leave the others with so much of their time.
  private static let busyAtMost = 0.7
  private static let calmShare: Int64 = 4

  private var state = State.steady
  private let patience: Patience

  package init(_ patience: Patience = Patience()) { self.patience = patience }

  /// One look, about every second.
  ///
  /// - Parameter maximum: of the definition or of the machine.
  package mutating func judge(
    _ look: Look, _ rule: ServingDefinition.Workers, maximum: Int, now: Span
  ) -> Decision {
    let most = max(rule.minimum, maximum)
    if look.workers < rule.minimum {
      state = .steady
      return .grow(why: "its definition wants at least \(rule.minimum)")
    }
    if look.workers > most {
      state = .steady
      return .shrink(why: "its definition wants at most \(most)")
    }
    if case .resting(let since) = state {
      guard now.microseconds - since.microseconds >= patience.rest.microseconds else {
        return .stay
      }
      state = .steady
    }
    if look.wait > rule.queueWait { return pressed(look, rule, most, now) }
    if look.wait.microseconds * Self.calmShare < rule.queueWait.microseconds {
      return calm(look, rule, now)
    }
    state = .steady
    return .stay
  }

  private mutating func pressed(
    _ look: Look, _ rule: ServingDefinition.Workers, _ most: Int, _ now: Span
  ) -> Decision {
    guard case .pressed(let since) = state else {
      state = .pressed(since: now)
      return .stay
    }
    // One that was lost, or is still loading, comes before another one.
    guard look.workers < most, look.ready >= look.workers,
      now.microseconds - since.microseconds >= patience.growAfter.microseconds
    else { return .stay }
    state = .resting(since: now)
    return .grow(
      why: "calls waited \(look.wait.rounded) at the 95th percentile for "
        + "\(Self.seconds(now, since)), and it is to be at most \(rule.queueWait)")
  }

  private mutating func calm(
    _ look: Look, _ rule: ServingDefinition.Workers, _ now: Span
  ) -> Decision {
    let others = max(1, look.workers - 1)
    let busyThen = look.busy * Double(look.workers) / Double(others)
    guard look.workers > rule.minimum, busyThen < Self.busyAtMost else {
      state = .steady
      return .stay
    }
    guard case .calm(let since) = state else {
      state = .calm(since: now)
      return .stay
    }
    guard now.microseconds - since.microseconds >= patience.shrinkAfter.microseconds else {
      return .stay
    }
    state = .resting(since: now)
    return .shrink(
      why: "calls hardly waited for \(Self.seconds(now, since)) (\(look.wait.rounded) at the 95th "
        + "percentile), and \(others) would be busy for \(Int((busyThen * 100).rounded())) % of the time"
    )
  }

  private static func seconds(_ now: Span, _ since: Span) -> String {
    Span.seconds((now.microseconds - since.microseconds) / 1_000_000).description
  }
}

/// How long calls of a model waited since the last look, and how long workers were busy with it.
package struct WaitSamples: Sendable {
  private static let most = 1_024

  private var waits: [Int64] = []
  private var place = 0
  private var busy: Int64 = 0
  private var since: Span?

  package init() {}

  package mutating func note(waited: Span) {
    if waits.count < Self.most {
      waits.append(waited.microseconds)
    } else {
      waits[place] = waited.microseconds
      place = (place + 1) % Self.most
    }
  }

  package mutating func note(busy span: Span) { busy += span.microseconds }

  /// The 95th percentile and the share of the time; starts anew.
  ///
  /// - Parameter waiting: when the calls came that still wait: they count with what they have waited so far.
  package mutating func take(
    waiting: [Span], workers: Int, now: Span
  ) -> (wait: Span, busy: Double) {
    let all = (waits + waiting.map { now.microseconds - $0.microseconds }).sorted()
    let wait = all.isEmpty ? 0 : all[min(all.count - 1, all.count * 95 / 100)]
    let passed = now.microseconds - (since ?? now).microseconds
    let room = Double(passed) * Double(max(1, workers))
    let share = room > 0 ? min(1, Double(busy) / room) : 0
    waits.removeAll(keepingCapacity: true)
    place = 0
    busy = 0
    since = now
    return (Span(microseconds: wait), share)
  }
}

extension Span {
  /// For people: whole milliseconds where it is at least one.
  fileprivate var rounded: Span {
    microseconds < 1_000 ? self : Span(microseconds: microseconds / 1_000 * 1_000)
  }
}
