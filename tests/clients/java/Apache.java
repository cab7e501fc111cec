import org.apache.hc.client5.http.classic.methods.HttpGet;
import org.apache.hc.client5.http.classic.methods.HttpPost;
import org.apache.hc.client5.http.impl.classic.CloseableHttpClient;
import org.apache.hc.client5.http.impl.classic.HttpClients;
import org.apache.hc.client5.http.impl.io.PoolingHttpClientConnectionManagerBuilder;
import org.apache.hc.client5.http.ssl.SSLConnectionSocketFactory;
import org.apache.hc.core5.http.ContentType;
import org.apache.hc.core5.http.io.entity.ByteArrayEntity;
import org.apache.hc.core5.http.io.entity.EntityUtils;
import org.apache.hc.core5.util.VersionInfo;

/** Apache HttpClient 5, as it is: one for each pool. */
final class Apache {
    public static void main(String[] arguments) throws Exception {
        var factory = new SSLConnectionSocketFactory(Common.trusting());
        var loader = Apache.class.getClassLoader();
        var version = VersionInfo.loadVersionInfo("org.apache.hc.client5", loader);
        Common.run("Apache HttpClient " + version.getRelease(), () -> {
            var manager = PoolingHttpClientConnectionManagerBuilder.create()
                    .setSSLSocketFactory(factory).build();
            var client = HttpClients.custom().setConnectionManager(manager).build();
            return post -> exchange(client, post);
        });
    }

    private static String exchange(CloseableHttpClient client, boolean post) throws Exception {
        var request = post ? new HttpPost(Common.POST) : new HttpGet(Common.GET);
        if (post) {
            var type = ContentType.APPLICATION_OCTET_STREAM;
            request.setEntity(new ByteArrayEntity(Common.BODY, type));
        }
        return client.execute(request, answer ->
                Common.judge(post, answer.getCode(), EntityUtils.toByteArray(answer.getEntity())));
    }
}
