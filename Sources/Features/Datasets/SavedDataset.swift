import Core
import Crypto

/// A training set that was kept: what it was made of, and how its rows and its file are known again.
package struct SavedDataset: Sendable, Codable, Equatable {
  package var id: String
  package var name: String
  /// The model whose training rows they are; nil for features joined to a spine of the user's.
  package var model: String?
  /// The columns that were computed, in order.
  package var features: [String]
  package var definitionsVersion: Int64
  package var mode: HistoryMode
  /// Of a model the time that it was built as of; of a spine the last `created_at` that counts, nil for no bound.
  package var asOf: Timestamp?
  /// By source, the last sequence that counts: what is stored later never changes the set.
  package var through: [String: Int64]
  /// The last recomputation of transform columns that counts; nil is none of them.
  package var recomputed: Int64?
  /// Where the rows came from, in words.
  package var spine: String
  package var time: String
  /// By key column of an entity, the column of the file that has it.
  package var keyColumns: [String: String]
  package var rows: Int
  /// Rows without a key or a time.
  package var incompleteRows: Int
  package var first: Timestamp?
  package var last: Timestamp?
  /// See `TrainingSetHash`.
  package var hash: String
  /// The Parquet file among the blobs.
  package var file: BlobDigest
  /// A file that an erasure replaced and that is yet to be removed.
  package var replacedFile: BlobDigest?
  package var erasedRows = 0
  package var createdAt: Timestamp
  /// Of the columns that the file has beside the computed ones, in order.
  var spineColumns: [String]

  /// Known by what is in it, so that saving it twice at one time keeps it once.
  mutating func identify() {
    var text = "\(name)\n\(model ?? "")\n\(definitionsVersion)\n\(hash)\n\(createdAt.microseconds)"
    for (source, sequence) in through.sorted(by: { $0.key < $1.key }) {
      text += "\n\(source) \(sequence)"
    }
    let digest = SHA256.hash(data: Array(text.utf8)).prefix(6)
    id =
      "ds-"
      + digest.map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()
  }
}

/// What a saved set was found to be when it was computed again.
package struct DatasetVerdict: Sendable, Equatable {
  package var dataset: SavedDataset
  /// Nil where it could not be computed.
  package var hash: String?
  package var file: BlobDigest?
  /// Why it differs, where that is known.
  package var note = ""

  /// The same rows, cell by cell.
  package var isReproduced: Bool { hash == dataset.hash }
  /// The same file, byte for byte.
  package var isSameFile: Bool { file == dataset.file }
}

/// One more saved set.
package struct NewDataset: Sendable {
  package enum Content: Sendable {
    /// - Parameter spine: the rows; `spineName` says where they came from.
    case features([FeatureName], spine: ColumnBatch, spineName: String, time: String, HistoryMode)
    case model(String)
  }

  package var name: String
  package var content: Content
  package var asOf: Timestamp?

  package init(name: String, content: Content, asOf: Timestamp? = nil) {
    self.name = name
    self.content = content
    self.asOf = asOf
  }
}
