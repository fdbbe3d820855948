import Core
import DuckDBBackend
import EmbeddedBackend
import Foundation
import KafkaBackend
import Logging
import RedisBackend

// What each `backend` setting chooses: a further back-end is one more case here.

extension Configuration.Online {
  /// The store of the online state, empty.
  func open(_ redis: Configuration.Redis, expires: Bool, _ log: Logger) throws -> any OnlineStore {
    switch backend {
    case .memory: MemoryOnlineStore()
    case .redis: try redis.open(expires: expires, log)
    }
  }
}

extension Configuration.Redis {
  /// - Parameter expires: whether Redis may forget keys by its own clock.
  func open(expires: Bool, _ log: Logger) throws -> RedisOnlineStore {
    try RedisOnlineStore(store(expires: expires), logger: log)
  }

  private func store(expires: Bool) throws -> RedisConfiguration {
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
    store.username = username
    store.password = password?.value
    store.tls = tls ? RedisTLS(authorityFile: authorityFile) : nil
    store.expires = expires
    store.writePatience = writeWait
    return store
  }
}

extension Configuration.Kafka {
  /// How records are read; nil where no brokers are set.
  func stream() throws -> KafkaConfiguration? {
    guard let brokers else { return nil }
    return KafkaConfiguration(
      brokers: brokers, groupID: group, instanceID: instanceID, batchRecords: batchRecords,
      batchInterval: batchInterval, properties: try properties())
  }

  /// The lines of `properties_file`; messages never show a value.
  private func properties() throws -> [String: String] {
    guard let propertiesFile else { return [:] }
    guard let bytes = FileManager.default.contents(atPath: propertiesFile) else {
      throw PlatformError(
        .invalidConfiguration, "kafka.properties_file: there is no readable file \(propertiesFile)")
    }
    var properties: [String: String] = [:]
    let lines = String(decoding: bytes, as: UTF8.self).split(
      separator: "\n", omittingEmptySubsequences: false)
    for (number, line) in lines.enumerated() {
      let line = line.trimmingCharacters(in: .whitespaces)
      if line.isEmpty || line.hasPrefix("#") { continue }
      guard let split = line.firstIndex(of: "="), split != line.startIndex else {
        throw PlatformError(
          .invalidConfiguration,
          "\(propertiesFile), line \(number + 1): write name=value, as in security.protocol=SASL_SSL"
        )
      }
      let name = line[..<split].trimmingCharacters(in: .whitespaces)
      properties[name] = line[line.index(after: split)...].trimmingCharacters(in: .whitespaces)
    }
    return properties
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
