import java.net.URI;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import javax.security.auth.callback.Callback;
import javax.security.auth.login.AppConfigurationEntry;
import org.apache.kafka.common.security.auth.AuthenticateCallbackHandler;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerExtensionsValidatorCallback;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerToken;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallback;

/**
 * Believes a token as a broker of Amazon MSK does: a presigned URL, in base64url, signed with Signature Version 4.
 * Options of the JAAS entry: region, log (a file that gets each URL), secret_KEYID (the secret of an access key).
 */
public class MskTokens implements AuthenticateCallbackHandler {
  private static final DateTimeFormatter DATE =
      DateTimeFormatter.ofPattern("yyyyMMdd'T'HHmmss'Z'").withZone(ZoneOffset.UTC);
  private Map<String, ?> options;

  private record Token(String value, Long startTimeMs, long lifetimeMs, String principalName)
      implements OAuthBearerToken {
    public Set<String> scope() {
      return Set.of();
    }
  }

  @Override
  public void configure(Map<String, ?> configs, String mechanism, List<AppConfigurationEntry> entries) {
    options = entries.get(0).getOptions();
  }

  @Override
  public void close() {}

  @Override
  public void handle(Callback[] callbacks) {
    for (Callback callback : callbacks) {
      if (callback instanceof OAuthBearerExtensionsValidatorCallback extensions) {
        extensions.inputExtensions().map().keySet().forEach(extensions::valid);
      } else if (callback instanceof OAuthBearerValidatorCallback validator) {
        try {
          validator.token(verified(validator.tokenValue()));
        } catch (Exception error) {
          validator.error("invalid_token", null, null);
        }
      }
    }
  }

  private Token verified(String token) throws Exception {
    URI url = URI.create(new String(Base64.getUrlDecoder().decode(token), StandardCharsets.UTF_8));
    synchronized (MskTokens.class) {
      Files.writeString(Path.of((String) options.get("log")), url + "\n",
          StandardOpenOption.CREATE, StandardOpenOption.APPEND);
    }
    TreeMap<String, String> query = new TreeMap<>();
    for (String pair : url.getRawQuery().split("&")) query.put(pair.split("=", 2)[0], pair.split("=", 2)[1]);
    query.remove("User-Agent");
    String signature = query.remove("X-Amz-Signature");
    String credential = URLDecoder.decode(query.get("X-Amz-Credential"), StandardCharsets.UTF_8);
    String[] parts = credential.split("/", 2);
    String date = query.get("X-Amz-Date");
    String day = date.substring(0, 8);
    String region = (String) options.get("region");
    String host = "kafka." + region + ".amazonaws.com";
    String scope = day + "/" + region + "/kafka-cluster/aws4_request";
    String canonical = "GET\n/\n"
        + query.entrySet().stream().map(one -> one.getKey() + "=" + one.getValue()).collect(Collectors.joining("&"))
        + "\nhost:" + host + "\n\nhost\n" + hash("");
    byte[] key = ("AWS4" + options.get("secret_" + parts[0])).getBytes(StandardCharsets.UTF_8);
    for (String step : List.of(day, region, "kafka-cluster", "aws4_request")) key = sign(key, step);
    String wanted = HexFormat.of().formatHex(
        sign(key, "AWS4-HMAC-SHA256\n" + date + "\n" + scope + "\n" + hash(canonical)));
    long from = Instant.from(DATE.parse(date)).toEpochMilli();
    long until = from + Integer.parseInt(query.get("X-Amz-Expires")) * 1000L;
    require(url.getScheme().equals("https") && url.getHost().equals(host) && url.getPath().equals("/"));
    require(query.get("Action").equals("kafka-cluster%3AConnect") && parts[1].equals(scope));
    require(wanted.equals(signature) && System.currentTimeMillis() < until);
    return new Token(token, from, until, "msk");
  }

  private static void require(boolean holds) {
    if (!holds) throw new IllegalArgumentException();
  }

  private static String hash(String text) throws Exception {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
  }

  private static byte[] sign(byte[] key, String text) throws Exception {
    Mac mac = Mac.getInstance("HmacSHA256");
    mac.init(new SecretKeySpec(key, "HmacSHA256"));
    return mac.doFinal(text.getBytes(StandardCharsets.UTF_8));
  }
}
