import Core
import DuckDBBackend
import EmbeddedBackend
import Foundation
import Logging
import RedisBackend

// What each `backend` setting chooses: a further back-end is one more case here.

extension Configuration.Online {
  /// The store of the online state, empty.
  ///
  /// - Parameter warehouse: whose events it will have, for others that share it.
  func open(
    _ redis: Configuration.Redis, warehouse: String, expires: Bool, _ log: Logger
  ) throws -> any OnlineStore {
    switch backend {
    case .memory: MemoryOnlineStore()
    case .redis: try redis.open(warehouse: warehouse, expires: expires, log)
    }
  }
}

extension Configuration.Redis {
  /// - Parameter expires: whether Redis may forget keys by its own clock.
  func open(
    warehouse: String = "", expires: Bool, _ log: Logger
  ) throws -> RedisOnlineStore {
    var configuration = try store(expires: expires)
    configuration.warehouse = warehouse
    return try RedisOnlineStore(configuration, logger: log)
  }

  func store(expires: Bool) throws -> RedisConfiguration {
    let addresses = try addresses.split(separator: ",").map { text in
      let text = text.trimmingCharacters(in: .whitespaces)
      guard let address = RedisAddress(text) else {
        throw PlatformError(
          .invalidConfiguration, "redis.addresses: '\(text)' is not host:port, as in 127.0.0.1:6379"
        )
      }
      return address
    }
    let mode: RedisConfiguration.Mode =
      switch mode {
      case .single: .single
      case .sentinel: .sentinel(master: master ?? "")
      case .cluster: .cluster
      }
    var store = RedisConfiguration(mode: mode, addresses: addresses, project: prefix)
    store.database = database
    store.knownIDs = knownIDs
    store.username = username
    store.password = password?.value
    store.tls = tls ? RedisTLS(authorityFile: authorityFile) : nil
    store.expires = expires
    store.writePatience = writeWait
    return store
  }
}

extension Configuration.DatabaseService {
  /// Reads of other processes that may run at the same time.
  var guests: Int { enabled ? concurrentReads : 0 }

  /// The service over a warehouse; nil where it is not enabled.
  func open(
    _ warehouse: any Core.Warehouse, _ redis: Configuration.Redis, _ log: Logger
  ) throws -> DatabaseService? {
    guard enabled, let warehouse = warehouse as? any SharedWarehouse else { return nil }
    // Deadlines are of the machine's time, also where the platform's clock is simulated.
    return try DatabaseService(
      warehouse, self, redis: redis.store(expires: false), clock: SystemClock(), log: log)
  }
}

extension Configuration.Warehouse {
  /// The warehouse of a data directory.
  ///
  /// - Parameter guests: reads of other processes that may run beside those of the platform.
  func open(in data: String, guests: Int = 0) async throws -> any Core.Warehouse {
    switch backend {
    case .duckdb:
      try await DuckDBWarehouse.open(
        path: data + "/warehouse.duckdb",
        options: DuckDBOptions(
          memoryLimitBytes: Int(memoryLimit.bytes), readers: readers + guests,
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
