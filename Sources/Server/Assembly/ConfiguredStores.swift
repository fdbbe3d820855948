import Core
import DuckDBBackend
import EmbeddedBackend
import Foundation

// What each `backend` setting chooses: a further back-end is one more case here.

extension Configuration.Online {
  /// The store of the online state, empty.
  func open() -> any OnlineStore {
    switch backend {
    case .memory: MemoryOnlineStore()
    }
  }
}

extension Configuration.Warehouse {
  /// The warehouse of a data directory.
  func open(in data: String) async throws -> any Core.Warehouse {
    switch backend {
    case .duckdb:
      try await DuckDBWarehouse.open(
        path: data + "/warehouse.duckdb",
        options: DuckDBOptions(
          memoryLimitBytes: Int(memoryLimit.bytes), readers: readers,
          temporaryDirectory: data + "/spill",
          readableDirectories: [URL(fileURLWithPath: data).standardizedFileURL.path + "/spool/"]))
    }
  }
}

extension Configuration.Blobs {
  /// Where a data directory keeps artifacts and baselines.
  func open(in data: String) throws -> any BlobStore {
    switch backend {
    case .directory: try DirectoryBlobStore(root: data + "/blobs")
    }
  }
}
