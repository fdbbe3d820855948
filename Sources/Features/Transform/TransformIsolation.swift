import Core
import Synchronization
import Workers

/// Finds the records of a batch that end their worker, or hold it for longer than it may take.
///
/// Such a record would come again and again with the whole batch and stop its source. The batch is halved until the
/// record is alone; it then is a fault like one that the function raised for, and the others are transformed. Where more than a few
/// do so, the function or the machine is at fault and not the records: the batch fails, and nothing of it is stored.
struct TransformIsolation: Sendable {
  /// The most of one batch.
  private static let deadlyRecords = 8
  /// Half of the rows get half of the time, but no less than this.
  private static let shortest = Span.seconds(20)

  typealias Part = @Sendable (ColumnBatch, Span) async throws -> TransformOutcome

  private final class Count: Sendable { let found = Mutex(0) }

  private let function: CodeReference
  private let part: Part
  private let count = Count()

  /// - Parameter part: transforms rows in one worker.
  init(_ function: CodeReference, _ part: @escaping Part) {
    self.function = function
    self.part = part
  }

  func run(_ rows: ColumnBatch, timeout: Span) async throws -> TransformOutcome {
    do {
      return try await part(rows, timeout)
    } catch let error as PlatformError where Self.mayBeOfARecord(error) {
      guard rows.count > 1 else { return try fault(error) }
      return try await halves(
        of: rows, timeout: max(Self.shortest, Span(microseconds: timeout.microseconds / 2)))
    }
  }

  private func halves(of rows: ColumnBatch, timeout: Span) async throws -> TransformOutcome {
    var made = TransformOutcome(rows: ColumnBatch(columns: []), errors: [:], tracebacks: [:])
    let middle = rows.count / 2
    for half in [0..<middle, middle..<rows.count] {
      let one = try await run(rows.gather(Array(half)), timeout: timeout)
      for (row, error) in one.errors { made.errors[half.lowerBound + row] = error }
      for (row, text) in one.tracebacks { made.tracebacks[half.lowerBound + row] = text }
      try WorkerTransform.add(
        one.rows, half.count, to: &made.rows, after: half.lowerBound, of: function)
    }
    return made
  }

  /// A worker was lost with the rows, twice, or had them for too long; not that they waited for one.
  private static func mayBeOfARecord(_ error: PlatformError) -> Bool {
    (error.code == .deadlineExceeded || error.code == .unavailable)
      && error.context["worker"] != nil
  }

  private func fault(_ error: PlatformError) throws -> TransformOutcome {
    let found = count.found.withLock { found in
      found += 1
      return found
    }
    guard found <= Self.deadlyRecords else { throw error }
    return TransformOutcome(
      rows: ColumnBatch(columns: []), errors: [0: error.message], tracebacks: [:])
  }
}
