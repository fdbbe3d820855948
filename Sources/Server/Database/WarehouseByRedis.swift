import Core
import Logging
import RedisBackend

/// A query for a command that does not reach the platform but its Redis.
package enum WarehouseByRedis {
  package static func query(
    _ sql: String, _ configuration: Configuration
  ) async throws -> ColumnBatch {
    let settings = configuration.databaseService
    return try await DatabaseClient.with(
      try configuration.redis.store(expires: false), namespace: settings.namespace,
      queueLimit: settings.queueJobs, logger: Logging.logger(configuration)
    ) { client in
      try await client.columns(sql, timeout: settings.readTimeout)
    }
  }
}
