import Core

/// Which code made the columns of which events of a source, as it was at ingest.
package struct TransformHistory: Sendable {
  package struct Step: Sendable, Decodable {
    var first: Int64
    var transform: String?
    var digest: String?
    var columns: String?

    package init(first: Int64, transform: String?, digest: String?, columns: String?) {
      self.first = first
      self.transform = transform
      self.digest = digest
      self.columns = columns
    }
  }

  /// What is known of the columns that were made of an event.
  enum Made: Equatable {
    case columns([String])
    /// The event is older than the notes of columns.
    case unknown
  }

  /// By first sequence.
  private let steps: [Step]
  private let made: [Made]

  init(of source: String, in warehouse: any Warehouse) async throws {
    self.init(
      try await warehouse.query(
        "SELECT first_sequence AS \"first\", transform, digest, columns FROM "
          + "\(TransformVersion.table) WHERE source = ? ORDER BY first_sequence, created_at",
        [.string(source)], as: Step.self))
  }

  package init(_ steps: [Step]) {
    self.steps = steps
    made = steps.map { step in
      guard step.transform != nil else { return .columns([]) }
      return step.columns.flatMap(ColumnList.names).map { .columns($0) } ?? .unknown
    }
  }

  /// The position of what made an event; nil where nothing did.
  func step(of sequence: Int64) -> Int? { steps.lastIndex { $0.first <= sequence } }

  func made(by step: Int?) -> Made { step.map { made[$0] } ?? .columns([]) }

  func digest(of step: Int?) -> String? { step.flatMap { steps[$0].digest } }

  /// Every column that some code is known to have made.
  var columns: Set<String> {
    Set(
      made.flatMap { one -> [String] in
        if case .columns(let names) = one { return names }
        return []
      })
  }
}
