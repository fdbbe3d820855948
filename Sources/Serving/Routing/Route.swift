/// Which way a row went, and why.
package struct Route: Sendable, Equatable {
  package enum Kind: String, Sendable, CaseIterable {
    /// The version in production answered.
    case production
    /// The canary answered: the row's key is among its share.
    case canary
    /// The caller named the version.
    case version
    /// Nobody was answered: the row was mirrored to a version that is only watched.
    case shadow
    /// The version in production answered in the place of a canary that could not.
    case fallback
  }

  package var kind: Kind
  package var why: String

  package init(_ kind: Kind, _ why: String) {
    self.kind = kind
    self.why = why
  }

  package static let named = Route(.version, "the caller named the version")
  package static let noCanary = Route(.production, "no canary runs")
}
