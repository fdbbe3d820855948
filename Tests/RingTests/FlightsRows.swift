import Core
import Synchronization

/// The batches of a stream, put together.
final class FlightsRows: Sendable {
  private let rows = Mutex(ColumnBatch(columns: []))

  var batch: ColumnBatch { rows.withLock { $0 } }

  func add(_ batch: borrowing ColumnBatch) {
    let batch = copy batch
    rows.withLock { $0.append(contentsOf: batch) }
  }
}
