import Core

/// What a transform made of a batch (semantics §6).
package struct TransformedRows: Sendable {
  /// Columns of the source, with as many rows as went in; those not named stay as they were.
  package var columns: [Column]
  /// Why a row could not be transformed, by its number in the batch.
  package var faults: [Int: String]
  /// The identity of the code that ran; nil where it is not known.
  package var digest: String?

  package init(columns: [Column], faults: [Int: String] = [:], digest: String? = nil) {
    self.columns = columns
    self.faults = faults
    self.digest = digest
  }
}

/// The ability to run a user's function over a batch of events at ingest.
///
/// Guarantees: columns in, columns out, the same rows in the same order; a row for which the
/// function raises is a fault, not an error of the batch. A batch is transformed by one version of the code.
package protocol BatchTransform: Sendable {
  /// Batches that may usefully be under way at the same time.
  var width: Int { get }
  /// The identity of the code as it is now; nil where it is not known.
  func digest(of function: CodeReference) async throws -> String?
  func transform(
    _ batch: ColumnBatch, of source: SourceDefinition, with function: CodeReference
  ) async throws -> TransformedRows
}

extension BatchTransform {
  package var width: Int { 1 }
  package func digest(of function: CodeReference) async throws -> String? { nil }
}

/// Work on items several at a time, with the results in the order of the items.
///
/// At most `width` items are taken whose results have not been handed on.
func inOrder<Item: Sendable, Output: Sendable>(
  width: Int, take: () async throws -> Item?,
  work: @escaping @Sendable (Item) async throws -> Output,
  deliver: (Output) async throws -> Void
) async throws {
  try await withThrowingTaskGroup(of: (Int, Output).self) { group in
    var taken = 0
    var delivered = 0
    var ready: [Int: Output] = [:]
    var isEnd = false
    while true {
      while !isEnd, taken - delivered < width {
        guard let item = try await take() else {
          isEnd = true
          break
        }
        let number = taken
        taken += 1
        group.addTask { (number, try await work(item)) }
      }
      guard let (number, output) = try await group.next() else { return }
      ready[number] = output
      while let output = ready.removeValue(forKey: delivered) {
        try await deliver(output)
        delivered += 1
      }
    }
  }
}
