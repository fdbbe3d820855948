import Core
import Logging

/// Saves the online state from time to time, so that a start has only the latest events to read.
package struct OnlineSnapshotService: Sendable {
  private let state: OnlineState
  private let interval: Span
  private let clock: any Clock<Duration>
  private let logger: Logger

  package init(
    state: OnlineState, interval: Span, clock: any Clock<Duration> = ContinuousClock(),
    logger: Logger
  ) {
    self.state = state
    self.interval = interval
    self.clock = clock
    self.logger = logger
  }

  /// Runs until it is cancelled, and then saves once more.
  package func run() async {
    repeat {
      try? await clock.sleep(for: interval.duration)
      await save()
    } while !Task.isCancelled
  }

  private func save() async {
    do {
      _ = try await state.save()
    } catch {
      logger.error("the online state could not be saved", metadata: ["error": "\(error)"])
    }
  }
}
