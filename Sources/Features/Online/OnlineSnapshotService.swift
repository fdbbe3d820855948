import Core
import Logging

/// Saves the online state from time to time, so that a start has only the latest events to read.
///
/// Guarantees: while events come in, a save is tried once `interval` has passed since the last one, or sooner once
/// `events` were applied since; a save that fails is logged and tried again when either has come round anew.
package struct OnlineSnapshotService: Sendable {
  private let state: OnlineState
  private let interval: Span
  private let events: Int
  private let clock: any Clock<Duration>
  private let logger: Logger

  package init(
    state: OnlineState, interval: Span, events: Int = .max,
    clock: any Clock<Duration> = ContinuousClock(), logger: Logger
  ) {
    self.state = state
    self.interval = interval
    self.events = events
    self.clock = clock
    self.logger = logger
  }

  /// Runs until it is cancelled, and then saves once more.
  package func run() async {
    repeat {
      await untilDue()
      await save()
    } while !Task.isCancelled
  }

  private func untilDue() async {
    await withTaskGroup(of: Void.self) { group in
      group.addTask { try? await clock.sleep(for: interval.duration) }
      group.addTask {
        for await unsaved in state.unsavedEvents.changes() where unsaved >= events { return }
      }
      await group.next()
      group.cancelAll()
    }
  }

  private func save() async {
    do {
      _ = try await state.save()
    } catch {
      logger.error("the online state could not be saved", metadata: ["error": "\(error)"])
    }
  }
}
