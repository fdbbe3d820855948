import Core

/// Which versions of one model answer now; replaced as a whole with every change.
package final class RouteTable: Sendable {
  /// A canary that the registry wants.
  package struct Canary: Sendable {
    package var version: Int64
    package var share: Double
    /// Nil while it is not loaded.
    package var served: ServedModel?
    /// Why it could not be loaded; nil where it is, or is still on its way.
    package var failure: String?

    package init(version: Int64, share: Double, served: ServedModel?, failure: String? = nil) {
      self.version = version
      self.share = share
      self.served = served
      self.failure = failure
    }
  }

  /// Where a row goes.
  package enum Target: Sendable, Equatable { case production, canary }

  /// The decision about a row.
  package struct Choice: Sendable, Equatable {
    package var target: Target
    package var route: Route
    /// The version that should have answered and cannot, where it is not merely still being loaded.
    package var failed: Int64?
  }

  package let production: ServedModel?
  package let canary: Canary?
  /// Gets what was answered as well, and nobody gets its answers.
  package let shadow: ServedModel?
  // Made once, so that no text is made for a prediction.
  private let inside: Choice
  private let outside: Choice

  package init(production: ServedModel?, canary: Canary?, shadow: ServedModel?) {
    self.production = production
    self.canary = canary
    self.shadow = shadow
    guard let canary else {
      outside = Choice(target: .production, route: .noCanary)
      inside = outside
      return
    }
    let share = Self.percent(canary.share)
    outside = Choice(
      target: .production,
      route: Route(.production, "the key is not in the \(share) of version \(canary.version)"))
    if canary.served != nil {
      inside = Choice(
        target: .canary,
        route: Route(.canary, "the key is in the \(share) of version \(canary.version)"))
    } else if let failure = canary.failure {
      inside = Choice(
        target: .production,
        route: Route(.fallback, "version \(canary.version) cannot be loaded: \(failure)"),
        failed: canary.version)
    } else {
      inside = Choice(
        target: .production,
        route: Route(.fallback, "version \(canary.version) is still being loaded"))
    }
  }

  /// Where a key goes that lies at `position` in [0, 1): the canary has those below its share, so that a greater share
  /// only ever adds keys.
  package func choose(at position: Double) -> Choice {
    guard let canary, position < canary.share else { return outside }
    return inside
  }

  /// `10 %`, `0.5 %`.
  package static func percent(_ share: Double) -> String {
    let value = (share * 1e6).rounded() / 1e4
    return (Int64(exactly: value).map { String($0) } ?? "\(value)") + " %"
  }
}
