/// Which calls go first where they have to wait for a worker.
///
/// It belongs to the task that makes the call, like its cancellation, so that every door can set it in one place and nothing in
/// between has to hand it on.
package enum CallPriority: String, Sendable, CaseIterable {
  case high, normal, low

  /// Of the calls that this task and its children make.
  @TaskLocal package static var current = CallPriority.normal

  /// Reads a word of a request; nil where there is none.
  package init?(named text: String?, in field: String) throws {
    guard let text, !text.isEmpty else { return nil }
    guard let priority = CallPriority(rawValue: text.lowercased()) else {
      throw PlatformError(
        .invalidArgument,
        "\(field) is '\(text)'; it must be high, normal or low"
          + (nearestName(to: text, among: Self.allCases.map(\.rawValue))
            .map { "; did you mean '\($0)'?" } ?? ""))
    }
    self = priority
  }
}
