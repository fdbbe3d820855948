import Core
import Features
import Logging
import Synchronization

/// Looks whether the online store answers, has what it had, and is owed something: what was left undone while it was away is done then.
final class OnlineStoreWatch: Sendable {
  private static let interval = Span.seconds(2)

  private let online: OnlineState
  private let log: Logger
  private let known = Mutex<PlatformError?>(nil)

  init(_ online: OnlineState, _ log: Logger) {
    self.online = online
    self.log = log
  }

  /// Why the store could not be reached at the last look; nil where it could.
  var fault: PlatformError? { known.withLock { $0 } }

  /// - Parameter resume: ends erasures that waited for the store; called when it is back.
  func run(resume: @Sendable () async throws -> Void) async {
    while !Task.isCancelled {
      try? await Task.sleep(for: Self.interval.duration)
      if Task.isCancelled { return }
      do {
        try await online.mend()
        if known.withLock({ $0 }) != nil {
          try await resume()
          log.notice("the online store is back")
        }
        known.withLock { $0 = nil }
      } catch {
        if Task.isCancelled { return }
        let fault = error as? PlatformError ?? PlatformError(.internalError, "\(error)")
        if known.withLock({ $0 }) == nil {
          log.warning("the online store cannot be used", metadata: ["error": "\(fault)"])
        }
        known.withLock { $0 = fault }
      }
    }
  }
}
